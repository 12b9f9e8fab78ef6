"""Python files that make backbones: run when the user names them, and later only what was run here before.

A checkpoint holds no code, only the file's name, the function's and the SHA-256 of the content. Whoever names the file
to `offramp import` or `train` has chosen to run it: its content is then kept, by its hash, in a folder of this user's
own, and that copy, with that function, is what later commands run. A checkpoint from elsewhere therefore runs nothing
that the user has not run before (docs/decisions/0014-stages.md).
"""

from __future__ import annotations

import hashlib
import inspect
import os
import re
import sys
import types
from pathlib import Path

from jetson.errors import ModelError, StorageError, first_line
from jetson.files import storage, write_file
from toolkit.models.chain import Chain, check_chain
from toolkit.models.config import CodeConfig

SPEC = re.compile(r"(?P<file>.+\.py):(?P<function>[^:/\\]+)")
MOST_BYTES = 1 << 22


def parse_code(spec: str) -> tuple[Path, str] | None:
    """Split `FILE.py:FUNCTION`; None for anything else.

    Raises:
        ModelError: a Python file without a function.
    """
    if spec.endswith(".py"):
        raise ModelError(f"{spec}: name the function in it that makes the model, {spec}:FUNCTION")
    found = SPEC.fullmatch(spec)
    return (Path(found["file"]).expanduser(), found["function"]) if found else None


def read_code(file: Path, function: str) -> tuple[bytes, CodeConfig]:
    """The content of a Python file, and what a checkpoint says of it.

    Raises:
        ModelError: no such file, or it is too large to be code.
        StorageError: it cannot be read.
    """
    if not file.is_file():
        raise ModelError(f"{file}: no such Python file")
    with storage(file, "read"), file.open("rb") as stream:
        content = stream.read(MOST_BYTES + 1)
    if len(content) > MOST_BYTES:
        raise ModelError(f"{file}: more than {MOST_BYTES:,} bytes; it should hold the code of a model")
    return content, CodeConfig(file=file.name, function=function, sha256=hashlib.sha256(content).hexdigest())


def remember(content: bytes, code: CodeConfig) -> None:
    """Keep the code, so that checkpoints made of it can be read on this account.

    Raises:
        StorageError: it cannot be written.
    """
    place = kept_at(code)
    if not place.is_file() or place.read_bytes() != content:
        with storage(place):
            place.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        write_file(place, content)


def recall(code: CodeConfig) -> bytes:
    """The code of a checkpoint.

    Raises:
        ModelError: it was never run here.
    """
    place, remedy = kept_at(code), f"name the file with --code {code.file}, once you have read it and trust it"
    if not place.is_file():
        raise ModelError(
            f"the backbone is Python code, {code.file}:{code.function}, that was never run here and is not in the "
            f"checkpoint (SHA-256 {code.sha256[:12]}...); {remedy}"
        )
    with storage(place, "read"):
        content = place.read_bytes()
    if hashlib.sha256(content).hexdigest() != code.sha256:
        raise ModelError(f"{place}: not the content that its name says; remove it, and {remedy}")
    return content


def trust(file: Path, code: CodeConfig | None) -> None:
    """Keep a file that the user has named for a checkpoint of its code.

    Raises:
        ModelError: it is not the file that the checkpoint was made with, or the checkpoint is of no code.
    """
    if code is None:
        raise ModelError(f"--code {file}: this checkpoint's backbone is no Python code")
    content, found = read_code(file, code.function)
    if found.sha256 != code.sha256:
        raise ModelError(
            f"--code {file}: not the content that the checkpoint was made with (SHA-256 {found.sha256[:12]}..., not "
            f"{code.sha256[:12]}...); import the model anew from what the file is now"
        )
    remember(content, code)


def run(content: bytes, code: CodeConfig, weights: Path | None) -> Chain:
    """Run the code and call its function.

    Args:
        content: of the file.
        code: which function.
        weights: handed on to a function that has a parameter of this name; None when the weights come from a
            checkpoint.

    Raises:
        ModelError: it fails, or does not return what is asked of it.
    """
    where = f"{code.file}:{code.function}"
    name = f"offramp_code_{code.sha256}"
    module, place = sys.modules.get(name), str(kept_at(code))
    try:
        if module is None:
            module = types.ModuleType(name)
            module.__file__ = place
            sys.modules[name] = module  # dataclasses and torch.export look a class's module up
            exec(compile(content, place, "exec"), module.__dict__)  # the user has named this very file
        function = getattr(module, code.function, None)
        if not callable(function):
            raise ModelError(f"{code.file}: no function {code.function} in it")
        takes = "weights" in inspect.signature(function).parameters
        if weights is not None and not takes:
            raise ModelError(f"--weights {weights}: {where} has no parameter `weights`")
        found = function(weights=weights) if takes else function()
    except (ModelError, StorageError, KeyboardInterrupt):
        raise
    except BaseException as error:  # the user's code may raise anything, SystemExit too
        sys.modules.pop(name, None)
        line = _line(error, getattr(module, "__file__", place))
        raise ModelError(f"{where}{line}: {type(error).__name__}: {first_line(error)}") from error
    return check_chain(found, where)


def kept_at(code: CodeConfig) -> Path:
    """Where the code is kept: `OFFRAMP_CACHE`/code, else `XDG_CACHE_HOME`/offramp/code, else the same in ~/.cache."""
    if named := os.environ.get("OFFRAMP_CACHE"):
        base = Path(named).expanduser()
    else:
        base = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "offramp"
    if not re.fullmatch("[0-9a-f]{64}", code.sha256):
        raise ModelError(f"{code.file}: {code.sha256!r} is no SHA-256")
    if not code.function.isidentifier():
        raise ModelError(f"{code.file}: {code.function!r} is no name of a function")
    # By function too: another one of the same file may do anything, and nobody has asked for it.
    return base / "code" / code.sha256 / f"{code.function}.py"


def _line(error: BaseException, file: str) -> str:
    """The last line of the user's own file that an error went through."""
    number, trace = 0, error.__traceback__
    while trace is not None:
        if trace.tb_frame.f_code.co_filename == file:
            number = trace.tb_lineno
        trace = trace.tb_next
    if isinstance(error, SyntaxError):
        number = error.lineno or 0
    return f", line {number}" if number else ""
