"""`offramp profile --power-modes`: the same profile in several power modes, each measured by a process of its own."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import click

from jetson.errors import BadInput, WorkFailed
from jetson.power.excursion import back_to
from jetson.power.nvpmodel import NeedsReboot, NvpModel, PowerMode
from jetson.profiling.profile import LatencyProfile
from toolkit.cli.console import say
from toolkit.cli.shared import as_environment

SETTLE_S = 5.0
"""After a change of mode, before anything is measured: governors and voltages take a moment."""
END_S = 10.0
# Not `python -m`: that would put the folder the user is in before everything else on the path.
START = "import sys; sys.path[:] = {path!r}; from toolkit.cli import main; sys.exit(main())"


def profile_modes(names: Sequence[str], folder: Path, words: Sequence[str], yes: bool, settle_s: float) -> list[Path]:
    """Profile in several modes, and come back to the one that held.

    Args:
        names: of the modes, or `all`.
        folder: to write a profile to for each, named for its mode.
        words: of `offramp profile`, but for those that say which mode and where to write.
        yes: do not ask.
        settle_s: to wait after a change of mode.

    Returns:
        The files written.

    Raises:
        BadInput: modes cannot be changed here, or there is none of that name.
        WorkFailed: no mode could be measured, or the one before does not hold again.
    """
    tool = NvpModel()
    before = tool.now()
    wanted = sorted(tool.chosen(names), key=lambda mode: mode != before)  # the present one first: nothing to change
    _ask(tool, wanted, before, yes)
    written, skipped = [], []
    with back_to(tool, before, lambda: say(f"power mode {before.name} holds again")):
        for mode in wanted:
            try:
                tool.change(mode)
            except NeedsReboot as error:
                say(f"{error}, and nobody is rebooted here: skipped ({tool.by_hand(mode)}, reboot, offramp profile)")
                skipped.append(mode.name)
                continue
            except WorkFailed as error:
                say(f"{error}: skipped")
                skipped.append(mode.name)
                continue
            if settle_s and mode != before:
                time.sleep(settle_s)
            say(f"power mode {mode.name}:")
            file = folder / f"{re.sub(r'[^A-Za-z0-9_.-]', '_', mode.name)}.json"
            _measure([*words, "--out", str(file)], mode)
            written.append(_checked(file, mode))
    if not written:
        raise WorkFailed(f"no power mode could be measured: {', '.join(skipped)}")
    return written


def _ask(tool: NvpModel, wanted: Sequence[PowerMode], before: PowerMode, yes: bool) -> None:
    if yes or list(wanted) == [before]:
        return
    names = ", ".join(m.name for m in wanted)
    if not sys.stdin.isatty():
        raise BadInput(f"--power-modes changes this board's power mode ({names}); nobody can be asked here: give --yes")
    say(f"the power mode will be changed to {names}, one after another, and back to {before.name} in the end")
    say("clocks that jetson_clocks holds may be other ones afterwards; programs on this board run slower meanwhile")
    click.confirm("go on?", abort=True, err=True)


def _measure(words: Sequence[str], mode: PowerMode) -> None:
    """Run `offramp profile` in a process of its own.

    ONNX Runtime cannot change its threads, and a GPU's clocks and parts are set when CUDA begins: a process that has
    measured one mode is no measure of the next.
    """
    path = [str(Path(p).absolute()) for p in sys.path]
    command = [sys.executable, "-c", START.format(path=path), "profile", *words]
    # Its tables are not shown, what it remarks is. What files and variables say is in the words already.
    environment = {k: v for k, v in os.environ.items() if not k.startswith("OFFRAMP_PROFILE_")}
    environment |= {"OFFRAMP_CONFIG": os.devnull, **as_environment(click.get_current_context().find_root().params)}
    process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL)
    try:
        code = process.wait()
    except BaseException:
        process.terminate()
        try:
            process.wait(END_S)
        except BaseException:
            process.kill()
            process.wait()
            raise
        raise
    if code:
        raise WorkFailed(f"power mode {mode.name} could not be measured")


def _checked(file: Path, mode: PowerMode) -> Path:
    found = LatencyProfile.load(file).device.power_mode
    if found != mode.name:
        raise WorkFailed(f"{file}: power mode {found} held when it was measured, not {mode.name}: who changed it?")
    return file
