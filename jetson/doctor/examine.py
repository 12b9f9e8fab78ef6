"""The examination as a whole: every check, each one guarded, and the verdicts that follow."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from jetson.doctor import board, gpu, packages, power, room, tensorrt
from jetson.doctor.check import Finding, Group, Ready, Report, State, Verdict
from jetson.doctor.facts import Checks, Facts, facts_of, trials
from jetson.doctor.machine import Machine, plain
from jetson.errors import first_line

CHECKS: dict[Group, Checks] = {
    "Machine": board.CHECKS,
    "GPU": gpu.CHECKS,
    "Engines": {**tensorrt.CHECKS, **packages.CHECKS},
    "Power": power.CHECKS,
    "Room": room.CHECKS,
}


def examine(machine: Machine | None = None) -> Report:
    """Look at everything; takes a second or two, and a little longer where something hangs.

    Args:
        machine: to look at; this one when None.
    """
    here = machine or Machine()
    memory = _guarded("Room", "memory", lambda: room.memory(here))  # before the trials take some of it
    with trials(here) as started:
        facts = facts_of(here, started)
    return report_on(facts, memory)


def report_on(facts: Facts, memory: Finding) -> Report:
    """Every check, and the verdicts.

    Args:
        facts: about the machine and its libraries.
        memory: what was found of it before the libraries were tried.
    """
    from jetson import __version__

    found = [_guarded(g, name, partial(check, facts)) for g, checks in CHECKS.items() for name, check in checks.items()]
    first = next(i for i, f in enumerate(found) if f.group == memory.group)
    found.insert(first, memory)
    onnxruntime = _judge("ONNX Runtime", _first(found, "onnxruntime"))
    verdicts = (onnxruntime, _tensorrt(facts, found), _judge("Building for RTX GPUs", _first(found, "tensorrt_rtx")))
    ready = Ready(onnxruntime=verdicts[0].ready, tensorrt=verdicts[1].ready, build_rtx=verdicts[2].ready)
    return Report(offramp=__version__, ready=ready, verdicts=verdicts, findings=tuple(found))


def _guarded(group: Group, name: str, check: Callable[[], Finding]) -> Finding:
    """What a check finds; that it fails is a finding too."""
    try:
        return check()
    except Exception as error:
        found = f"this could not be looked at: {type(error).__name__}: {plain(first_line(error))}"
        mend = "please report it, with what offramp doctor --json prints"
        title = name.replace("_", " ")
        return Finding(name=f"{name}_check", group=group, title=title, state="warning", found=found, mend=mend)


def _tensorrt(facts: Facts, found: list[Finding]) -> Verdict:
    """Ready when a GPU, its driver, TensorRT and a CUDA package are all there and fit one another."""
    engine = "TensorRT"
    for finding in (_first(found, n) for n in ("jetpack", "driver")):
        if finding and finding.state == "missing":
            return _judge(engine, finding)
    card = _first(found, "gpu")
    if card and card.state == "not here":
        mend = "use ONNX Runtime here, TensorRT on the Jetson"
        return Verdict(engine=engine, state="not here", because="there is no NVIDIA GPU here", mend=mend)
    used = facts.tensorrt_used
    needed = [card, _first(found, used[0] if used else _lacking(facts)), _first(found, "cuda_package")]
    for verdict in (_judge(engine, f) for f in needed):
        if not verdict.ready:
            return verdict
    if used and used[0] == "tensorrt_rtx" and not tensorrt.serves_gpu(facts):
        because = "TensorRT for RTX does not know this GPU, and TensorRT itself is not here"
        return Verdict(engine=engine, state="missing", because=because, mend=_mend(_first(found, "tensorrt")))
    return Verdict(engine=engine, state="ok")


def _lacking(facts: Facts) -> str:
    """Which of the two packages this machine lacks."""
    other = not facts.machine.jetson and tensorrt.serves_gpu(facts) and facts.tensorrt["tensorrt"].state == "absent"
    return "tensorrt_rtx" if other else "tensorrt"


def _judge(engine: str, finding: Finding | None) -> Verdict:
    """Ready unless something is missing; a finding that is not there is a check that failed."""
    if finding is None:
        return Verdict(engine=engine, state="missing", because="it could not be looked at, see the findings")
    if finding.state == "ok" or (finding.state == "warning" and finding.name != "gpu"):
        return Verdict(engine=engine, state="ok")
    state: State = "not here" if finding.state == "not here" else "missing"
    return Verdict(engine=engine, state=state, because=finding.found, mend=finding.mend)


def _first(found: list[Finding], name: str) -> Finding | None:
    return next((f for f in found if f.name == name), None)


def _mend(finding: Finding | None) -> str | None:
    return finding.mend if finding else None
