"""Each floor imports on the machine it is for: the device without PyTorch, the command line without any extra."""

import ast
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from toolkit.cli import COMMANDS

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("jetson", "calibration", "toolkit")
HOST_ONLY = ("toolkit/models", "toolkit/training", "toolkit/export")  # these may import PyTorch at the top
OPTIONAL = (
    *("torch", "transformers", "accelerate", "onnx", "onnxscript", "safetensors", "sklearn", "scipy", "numba", "PIL"),
    *("cv2", "jinja2", "tensorrt", "tensorrt_rtx", "pycuda", "cuda", "mlxtend", "playwright", "matplotlib", "jtop"),
)
ALLOWED_ON_DEVICE = ("numpy", "msgspec", "jetson")
# A `sitecustomize.py` is run by every Python that finds it, so whole commands can be tried without a package.
BLOCKER = """
import sys
class Blocker:
    def find_spec(self, name, path=None, target=None):
        if {condition}:
            raise ModuleNotFoundError(f"No module named {{name!r}} (blocked by the test)", name=name)
sys.meta_path.insert(0, Blocker())
"""
WITHOUT_EXTRAS = BLOCKER.format(condition=f"name.partition('.')[0] in {OPTIONAL}")
DEVICE_ALONE = BLOCKER.format(
    condition=f"name.partition('.')[0] not in {{*sys.stdlib_module_names, *{ALLOWED_ON_DEVICE}}}"
)


def sources(*packages: str) -> list[Path]:
    return [path for package in packages for path in sorted((ROOT / package).rglob("*.py"))]


def module_name(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def is_host_only(path: Path) -> bool:
    return path.relative_to(ROOT).as_posix().startswith(tuple(f"{folder}/" for folder in HOST_ONLY))


def python(*args: str, site: Path | None = None) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(site) if site else ""}
    command = [sys.executable, *args]
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=300)


def import_each(paths: list[Path], site: Path | None = None) -> None:
    """Import every module of `paths` in a fresh interpreter and name all those that fail."""
    names = [module_name(path) for path in paths if path.name != "__main__.py"]
    script = (
        "import importlib, sys, traceback\n"
        f"for name in {names}:\n"
        "    try: importlib.import_module(name)\n"
        "    except Exception: print('cannot import', name, traceback.format_exc(limit=-2), file=sys.stderr)\n"
    )
    done = python("-c", script, site=site)
    assert done.returncode == 0, done.stderr
    assert "cannot import" not in done.stderr, done.stderr


@pytest.fixture
def without_extras(tmp_path: Path) -> Path:
    (tmp_path / "sitecustomize.py").write_text(WITHOUT_EXTRAS)
    return tmp_path


@pytest.fixture
def device_alone(tmp_path: Path) -> Path:
    (tmp_path / "sitecustomize.py").write_text(DEVICE_ALONE)
    return tmp_path


def test_the_blockers_block(without_extras: Path) -> None:
    assert "blocked by the test" in python("-c", "import torch", site=without_extras).stderr
    (without_extras / "sitecustomize.py").write_text(DEVICE_ALONE)
    assert "blocked by the test" in python("-c", "import onnxruntime", site=without_extras).stderr


def test_modules_import_without_any_extra(without_extras: Path) -> None:
    import_each([path for path in sources(*PACKAGES) if not is_host_only(path)], without_extras)


def test_jetson_imports_with_numpy_and_msgspec_alone(device_alone: Path) -> None:
    import_each(sources("jetson"), device_alone)


@pytest.mark.slow
def test_all_modules_import_with_everything_installed() -> None:
    import_each(sources(*PACKAGES))


def test_help_names_every_command_without_any_extra(without_extras: Path) -> None:
    done = python("-m", "toolkit", "--help", site=without_extras)
    assert done.returncode == 0, done.stderr
    assert [name for name in COMMANDS if name not in done.stdout] == []


HELP = """
import contextlib, io, json, sys, traceback
from toolkit.cli import COMMANDS, main
found = {}
for name in COMMANDS:
    with contextlib.redirect_stdout(io.StringIO()) as out:
        try:
            code = main([name, "--help"])
        except Exception:
            code = traceback.format_exc()
    found[name] = code, out.getvalue()
json.dump(found, sys.stdout)
"""


@pytest.fixture(scope="module")
def helps(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[int | str, str]]:
    """By command, the exit code (or what was raised) and the text of its help without any extra."""
    folder = tmp_path_factory.mktemp("help")
    (folder / "sitecustomize.py").write_text(WITHOUT_EXTRAS)
    done = python("-c", HELP, site=folder)
    assert done.returncode == 0, done.stderr
    found: dict[str, tuple[int | str, str]] = json.loads(done.stdout)
    return found


@pytest.mark.parametrize("name", COMMANDS)
def test_help_of_a_command_works_without_any_extra(name: str, helps: dict[str, tuple[int | str, str]]) -> None:
    code, text = helps[name]
    assert code == 0, code
    assert f"offramp {name}" in text


def test_importing_jetson_brings_no_heavy_package() -> None:
    done = python("-X", "importtime", "-c", "import jetson")
    loaded = {line.rpartition("|")[2].strip().partition(".")[0] for line in done.stderr.splitlines()}
    assert "jetson" in loaded
    assert loaded & {"torch", "onnx", "transformers", "onnxruntime"} == set()


@pytest.mark.parametrize(("package", "above"), [("jetson", {"calibration", "toolkit"}), ("calibration", {"toolkit"})])
def test_imports_only_go_down(package: str, above: set[str]) -> None:
    wrong = []
    for path in sources(package):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and node.level == 0:
                names = [node.module or ""]
            else:
                continue
            wrong += [f"{path.relative_to(ROOT)}:{node.lineno}" for name in names if name.partition(".")[0] in above]
    assert wrong == []


def test_every_folder_with_modules_is_a_package() -> None:
    folders = {path.parent for path in sources(*PACKAGES)}
    assert [str(folder.relative_to(ROOT)) for folder in sorted(folders) if not (folder / "__init__.py").is_file()] == []


def test_files_are_short_and_finished() -> None:
    marks = re.compile(r"\b(TO" + "DO|FIX" + r"ME)\b")
    files = [*sources(*PACKAGES, "tests", "benchmarks"), ROOT / "setup.py", ROOT / "Makefile", ROOT / ".ci" / "run"]
    files += [path for ending in ("*.j2", "*.css", "*.js") for path in sorted((ROOT / "toolkit").rglob(ending))]
    texts = {str(path.relative_to(ROOT)): path.read_text(encoding="utf-8") for path in files}
    assert [name for name, text in texts.items() if len(text.splitlines()) > 400] == []
    assert [name for name, text in texts.items() if marks.search(text)] == []
