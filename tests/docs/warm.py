"""A process that has imported what the commands import, and forks for each: as a user types them, without the wait.

Run as a program it serves: a line of JSON in for each command, its exit code out.
"""

from __future__ import annotations

import json
import os
import runpy
import subprocess
import sys
import traceback
from pathlib import Path
from typing import NoReturn

ROOT = Path(__file__).resolve().parents[2]


class Warm:
    """Starts the process and hands it commands, one after another."""

    def __init__(self) -> None:
        environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "2"}
        words = [sys.executable, __file__]
        self.process = subprocess.Popen(
            words, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1
        )

    def run(self, words: list[str], folder: Path) -> subprocess.CompletedProcess[str]:
        """Run `offramp ...` or `python FILE ...` in a folder."""
        assert self.process.stdin is not None and self.process.stdout is not None
        out, err = folder / ".out", folder / ".err"
        print(json.dumps([words, str(folder), str(out), str(err)]), file=self.process.stdin)
        code = int(self.process.stdout.readline())
        texts = [file.read_text(encoding="utf-8") for file in (out, err)]
        for file in (out, err):
            file.unlink()
        return subprocess.CompletedProcess(words, code, *texts)

    def close(self) -> None:
        """End the process."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait()


def serve() -> None:
    """Import, then run each command in a fork."""
    import accelerate  # noqa: F401
    import onnxruntime  # noqa: F401
    import onnxscript  # noqa: F401
    import sklearn.datasets  # noqa: F401
    import transformers.models.vit.modeling_vit  # noqa: F401
    from torch.onnx._internal.exporter._registration import ONNXRegistry

    from jetson.engines.tensorrt import preflight

    table = ONNXRegistry.from_torchlib()  # read anew for each unit otherwise; it is the same every time
    ONNXRegistry.from_torchlib = staticmethod(lambda *_args, **_options: table)  # type: ignore[method-assign]
    preflight.preflight = _no_tensorrt
    for line in sys.stdin:
        words, folder, out, err = json.loads(line)
        child = os.fork()
        if child == 0:
            _become(words, folder, out, err)
        _, status = os.waitpid(child, 0)
        print(os.waitstatus_to_exitcode(status), flush=True)


def _no_tensorrt(*_: object) -> NoReturn:
    """As where the tutorial is followed: it does not install TensorRT, whose parser takes seconds to start."""
    from jetson.errors import missing_extra

    raise missing_extra("tensorrt_rtx", "rtx")


def _become(words: list[str], folder: str, out: str, err: str) -> None:
    """Be the command, to the end of this process."""
    code = 1
    try:
        os.chdir(folder)
        for name, descriptor in ((out, 1), (err, 2), (os.devnull, 0)):
            file = os.open(name, os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o600)
            os.dup2(file, descriptor)
        if words[0] == "offramp":
            from toolkit.cli import main

            code = main(words[1:])
        else:
            sys.argv = words[1:]
            sys.path.insert(0, str(Path(words[1]).resolve().parent))
            code = 0
            runpy.run_path(words[1], run_name="__main__")
    except SystemExit as ended:
        code = ended.code if isinstance(ended.code, int) else int(ended.code is not None)
        if isinstance(ended.code, str):
            print(ended.code, file=sys.stderr)
    except BaseException:
        traceback.print_exc()
        code = 70
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


if __name__ == "__main__":
    serve()
