"""Wheels are chosen for the board's Python and processor, not for this machine's."""

from __future__ import annotations

import zipfile
from pathlib import Path

import msgspec
import pytest
from packaging.requirements import Requirement

from jetson.errors import BadInput
from toolkit.deploy import own_wheel
from toolkit.deploy.environment import Environment, plan_environment
from toolkit.deploy.facts import Facts
from toolkit.deploy.wheelhouse import check_found, choose, wheels_in

JETPACK_6 = Facts(
    folder="/home/me/.offramp",
    python="/usr/bin/python3",
    free_bytes=1 << 34,
    glibc="2.35",
    cuda=12,
    pip=False,
    distributions={"tensorrt": ("10.3.0", []), "PyYAML": ("5.4.1", [])},
    markers={
        "implementation_name": "cpython",
        "implementation_version": "3.10.12",
        "os_name": "posix",
        "platform_machine": "aarch64",
        "platform_python_implementation": "CPython",
        "platform_release": "5.15.148-tegra",
        "platform_system": "Linux",
        "platform_version": "#1 SMP PREEMPT",
        "python_full_version": "3.10.12",
        "python_version": "3.10",
        "sys_platform": "linux",
    },
)


def wheel(folder: Path, name: str, *requires: str, python: str = "") -> str:
    distribution, version = name.split("-")[:2]
    head = f"Metadata-Version: 2.1\nName: {distribution}\nVersion: {version}\n"
    head += "".join(f"Requires-Dist: {r}\n" for r in requires) + (f"Requires-Python: {python}\n" if python else "")
    folder.mkdir(exist_ok=True)
    with zipfile.ZipFile(folder / f"{name}.whl", "w") as archive:
        archive.writestr(f"{distribution}-{version}.dist-info/METADATA", head)
    return f"{name}.whl"


def chosen(folder: Path, *roots: str, board: Facts = JETPACK_6) -> list[str]:
    choice = choose(map(Requirement, roots), wheels_in(folder), board)
    assert choice.missing == {}
    return [w.path.name for w in choice.wheels]


def test_the_newest_that_runs_there_is_taken(tmp_path: Path) -> None:
    for tag in ("cp310-cp310-manylinux_2_39_aarch64", "cp312-cp312-manylinux_2_28_aarch64", "cp310-cp310-win_amd64"):
        wheel(tmp_path, f"numpy-2.3-{tag}")
    wheel(tmp_path, "numpy-2.4-cp310-cp310-manylinux_2_28_aarch64", python=">=3.11")
    wheel(tmp_path, "numpy-2.1-cp310-cp310-manylinux_2_17_aarch64.manylinux2014_aarch64")
    fits = wheel(tmp_path, "numpy-2.2-cp310-cp310-manylinux_2_27_aarch64.manylinux_2_28_aarch64")
    assert chosen(tmp_path, "numpy>=1.26") == [fits]


def test_what_wheels_require_comes_too_by_the_boards_markers(tmp_path: Path) -> None:
    old = 'six; python_version < "3.11"'
    wheel(tmp_path, "rich-15.0-py3-none-any", "pygments>=2", old, 'colours; sys_platform == "win32"', 'x; extra == "y"')
    for name in ("pygments-2.2-py3-none-any", "six-1.0-py2.py3-none-any", "colours-1-py3-none-any"):
        wheel(tmp_path, name)
    assert chosen(tmp_path, "rich") == [
        "rich-15.0-py3-none-any.whl",
        "pygments-2.2-py3-none-any.whl",
        "six-1.0-py2.py3-none-any.whl",
    ]


def test_a_later_requirement_narrows_an_earlier_choice(tmp_path: Path) -> None:
    for version in ("1.0", "2.0"):
        wheel(tmp_path, f"base-{version}-py3-none-any")
    wheel(tmp_path, "user-1.0-py3-none-any", "base<2")
    assert chosen(tmp_path, "base", "user") == ["base-1.0-py3-none-any.whl", "user-1.0-py3-none-any.whl"]


def test_what_the_board_has_does_where_no_wheel_is(tmp_path: Path) -> None:
    wheel(tmp_path, "tool-1.0-py3-none-any", "pyyaml>=5")
    assert chosen(tmp_path, "tool", "TensorRT") == ["tool-1.0-py3-none-any.whl"]
    board = msgspec.structs.replace(JETPACK_6, distributions={"onnxruntime-gpu": ("1.23.0", [])})
    assert chosen(tmp_path, "onnxruntime>=1.20", board=board) == []


@pytest.mark.parametrize(("cuda", "version"), [(12, "12.9"), (13, "13.1"), (None, "13.1")])
def test_cuda_bindings_fit_the_boards_cuda(tmp_path: Path, cuda: int | None, version: str) -> None:
    for one in ("12.9", "13.1", "14.0" if cuda else "13.0"):
        wheel(tmp_path, f"cuda_bindings-{one}-cp310-cp310-manylinux_2_24_aarch64")
    board = msgspec.structs.replace(JETPACK_6, cuda=cuda)
    assert chosen(tmp_path, board=board) == [f"cuda_bindings-{version}-cp310-cp310-manylinux_2_24_aarch64.whl"]


def test_what_is_missing_is_named_with_the_command_that_fetches_it(tmp_path: Path) -> None:
    wheel(tmp_path, "numpy-2.2-cp310-cp310-manylinux_2_28_x86_64")
    wheel(tmp_path, "click-7.0-py3-none-any")
    roots = [Requirement(r) for r in ("numpy>=1.26", "click>=8.1", "rich")]
    with pytest.raises(BadInput) as raised:
        check_found(choose(roots, wheels_in(tmp_path), JETPACK_6), roots, JETPACK_6, tmp_path)
    said = str(raised.value)
    assert "no wheel for the board (Python 3.10, aarch64, glibc 2.35) of numpy>=1.26 (numpy-2.2-cp310" in said
    assert (
        "is for another Python or processor); click>=8.1 (click-7.0-py3-none-any.whl is not click>=8.1); rich." in said
    )
    assert f"pip download --only-binary=:all: --dest {tmp_path} --python-version 3.10 --implementation cp" in said
    assert "--platform manylinux_2_28_aarch64 'numpy>=1.26' 'click>=8.1' rich" in said


def test_a_folder_that_is_none_and_a_wheel_that_is_none(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="no such folder of wheels"):
        wheels_in(tmp_path / "none")
    (tmp_path / "numpy-2.2-cp310-cp310-manylinux_2_28_aarch64.whl").write_bytes(b"PK, and no more")
    with pytest.raises(BadInput, match="not a whole wheel"):
        choose([Requirement("numpy")], wheels_in(tmp_path), JETPACK_6)
    (tmp_path / "numpy.whl").touch()
    with pytest.raises(BadInput, match=r"numpy\.whl"):
        wheels_in(tmp_path)


def test_our_own_wheel_is_the_same_for_the_same_files_and_whole(tmp_path: Path) -> None:
    (tmp_path / "again").mkdir()
    first, again = own_wheel.write_wheel(tmp_path), own_wheel.write_wheel(tmp_path / "again")
    assert first.read_bytes() == again.read_bytes()
    names = zipfile.ZipFile(first).namelist()
    assert {"toolkit/cli/deploy.py", "jetson/py.typed", "toolkit/report/report.css"} <= set(names)
    assert [n for n in names if n.endswith(".pyc")] == []
    required = wheels_in(tmp_path)[0].metadata()[0]
    assert "numpy" in {r.name for r in required}
    assert "torch" not in {r.name for r in required}


class _Cargo:
    offramp = None


def test_a_board_with_pip_and_an_index_fetches_for_itself() -> None:
    board = msgspec.structs.replace(JETPACK_6, pip=True)
    plan = plan_environment(_Cargo, board, None)  # type: ignore[arg-type]
    assert "numpy>=1.26" in plan.pip
    assert "cuda-bindings<13" in plan.pip
    with pytest.raises(BadInput, match=r"\(Python 3.10, aarch64, glibc 2.35\) has no pip, and lacks numpy"):
        plan_environment(_Cargo, JETPACK_6, None)  # type: ignore[arg-type]


def test_an_environment_is_named_by_all_that_shapes_it() -> None:
    digests = {
        Environment((), ()).digest(JETPACK_6),
        Environment((), ("numpy",)).digest(JETPACK_6),
        Environment((), ()).digest(msgspec.structs.replace(JETPACK_6, python="/opt/python3")),
    }
    assert len(digests) == 3
