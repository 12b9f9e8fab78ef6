"""One board, from a bundle here to a profile back; each step finds what an earlier connection has done."""

from __future__ import annotations

import contextlib
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

from jetson.doctor.check import Report
from jetson.errors import BadInput, OfframpError, ProfileError, WorkFailed
from jetson.files import write_file
from jetson.profiling.check import speaks_of
from jetson.profiling.profile import LatencyProfile
from toolkit.deploy.cargo import Cargo
from toolkit.deploy.copying import copy, left_bytes, look
from toolkit.deploy.environment import Environment, install, lacking_wheels, plan_environment, unpacked_bytes
from toolkit.deploy.facts import Facts
from toolkit.deploy.link import Ends, Link, Refused
from toolkit.deploy.remote_job import Job
from toolkit.deploy.site import Result, Site, View
from toolkit.deploy.ssh import Address, Lost, connect, is_unreachable

MB = 1e6
SPARE_BYTES = 64 << 20
"""For what the work on the board writes beside its engines."""
PAUSES_S = (1.0, 2.0, 4.0, 8.0, 15.0)
"""Before each further try; the last one again and again."""


class Deployment:
    """The work on one board. It can be cancelled from another thread."""

    def __init__(
        self, site: Site, cargo: Cargo, view: View, dry_run: bool, connect: Callable[[Address], Ends] = connect
    ) -> None:
        self.site, self.cargo, self.view, self.dry_run = site, cargo, view, dry_run
        self.result = Result(site)
        self._connect = connect
        self._link: Link | None = None
        self._connected = False
        self._progressed = False
        self._cancelled = threading.Event()
        self._jobs: dict[str, Job] = {}
        self._report: Report | None = None

    def run(self) -> Result:
        """Do it all, and again after a lost connection.

        Raises:
            OfframpError: it cannot be done, with the reason.
        """
        tries = 0
        while True:
            try:
                return self._once()
            except Lost as error:
                if not self._connected:
                    raise WorkFailed(f"{self.site.address.host} cannot be reached ({error})") from None
                why = str(error)
            except OfframpError as error:
                if not (self._connected and is_unreachable(error)):
                    raise
                why = str(error)
            finally:
                if self._link is not None:
                    self._link.close()
            if self._cancelled.is_set():
                raise WorkFailed("interrupted")
            tries = 1 if self._progressed else tries + 1
            self._progressed = False
            if tries > self.site.orders.retries:
                raise WorkFailed(
                    f"the connection was lost ({why}); what is done stays, and the same command goes on from there"
                )
            pause = PAUSES_S[min(tries, len(PAUSES_S)) - 1]
            self.view.note(f"connection lost ({why}); once more in {pause:g} s ({tries} of {self.site.orders.retries})")
            self._cancelled.wait(pause)

    def cancel(self) -> None:
        """Let `run` end soon; what runs on the board goes on there."""
        self._cancelled.set()
        if self._link is not None:
            self._link.kill()

    def _open(self) -> tuple[Link, Facts]:
        if self._cancelled.is_set():
            raise Lost("interrupted")
        self.view.step("connecting")
        link = self._link = Link(self._connect(self.site.address))
        try:
            board = msgspec.convert(link.ask("hello", folder=self.site.folder), Facts)
        except Refused as error:
            raise BadInput(f"{self.site.address.host}: {error}") from None
        first, self._connected = not self._connected, True
        if first and self.site.orders.restart and not self.dry_run:
            link.ask("stop")
        self.result.board, self.result.folder = board.words, board.folder
        return link, board

    def _once(self) -> Result:
        link, board = self._open()
        environment = plan_environment(self.cargo, board, self.site.orders.wheelhouse)
        if self.dry_run:
            self._tell_plan(link, board, environment)
            return self.result
        self._check_room(link, board, environment)
        self._copied(install(link, environment, board, self.view))
        busy = link.ask("running")
        self._examine(link, board, environment, busy)
        jobs = self._plan_jobs(board, environment)
        for name, key in busy.items():
            if name not in jobs or jobs[name].key != key:
                raise WorkFailed(
                    f"another deployment's work ({name}) is going on there; wait, or end it with --restart"
                )
        self._copied(copy(link, list(self.cargo.files.values()), "the bundle", self.view))
        files = {path: item.sha256 for path, item in self.cargo.files.items()}
        link.ask("bundle", name=self.cargo.name, files=files)
        if "engines" in jobs:
            self.view.step("building engines")
            self.result.engines = msgspec.json.decode(jobs["engines"].run(link, self._told))
        self.view.step("profiling")
        jobs["profile"].run(link, lambda share, _text: self._told(share, ""))
        self.result.profile = self._take(link.get(self._profile))
        for job in ("doctor", *jobs):
            link.ask("forget", job=job)
        return self.result

    def _copied(self, count: int) -> None:
        self.result.copied_bytes += count
        self._progressed = self._progressed or count > 0

    def _check_room(self, link: Link, board: Facts, environment: Environment) -> None:
        needed = left_bytes(look(link, list(self.cargo.files.values())))
        if not link.ask("environment", digest=environment.digest(board)):
            wheels = lacking_wheels(link, environment)
            needed += unpacked_bytes(wheels) + left_bytes(look(link, wheels))
        if needed and needed + SPARE_BYTES > board.free_bytes:
            raise BadInput(
                f"{self.site.address.host} has {board.free_bytes / MB:.0f} MB free for {board.folder}, and "
                f"{(needed + SPARE_BYTES) / MB:.0f} MB are needed: free some space, or name another --folder"
            )

    def _job(self, name: str, words: list[str], *shaped_by: str) -> Job:
        return self._jobs.setdefault(name, Job(name, words, *shaped_by))

    def _told(self, share: float | None, text: str) -> None:
        self._progressed = True
        self.view.share(share, text)

    def _examine(self, link: Link, board: Facts, environment: Environment, busy: dict[str, str]) -> None:
        """Ask `offramp doctor` there, and choose the engine."""
        if self._report is None:
            self.view.step("asking offramp doctor")
            if not busy:  # else what it said before is good enough, and it would disturb a measurement
                link.ask("forget", job="doctor")
            job = self._job("doctor", [_offramp(board), "doctor", "--json"], environment.digest(board))
            self._report = msgspec.json.decode(job.run(link, self._told), type=Report)
            self.result.doctor = msgspec.to_builtins(self._report)
        ready = self._report.ready
        engine = self.site.orders.engine or ("tensorrt" if ready.tensorrt else "onnxruntime")
        named = {"tensorrt": "TensorRT", "onnxruntime": "ONNX Runtime"}[engine]
        verdict = next(v for v in self._report.verdicts if v.engine == named)
        if not verdict.ready:
            raise WorkFailed(verdict.sentence)
        self.result.engine = engine

    @property
    def _profile(self) -> str:
        return f"profiles/{self.cargo.name}.json"

    def _plan_jobs(self, board: Facts, environment: Environment) -> dict[str, Job]:
        """What is to run there once the bundle is."""
        orders = self.site.orders
        bundle = self.result.bundle = f"{board.folder}/bundles/{self.cargo.name}"
        profile = self.result.there = f"{board.folder}/{self._profile}"
        precision = ["--precision", orders.precision] if orders.precision else []
        commands: dict[str, list[str]] = {}
        if self.result.engine == "tensorrt" or orders.target:
            target = ["--target", orders.target] if orders.target else []
            commands["engines"] = [bundle, "--json", *precision, *target, *orders.engine_options]
        threads = ["--threads", str(orders.threads)] if orders.threads else []
        commands["profile"] = [bundle, "--json", "--out", profile, "--engine", str(self.result.engine)]
        commands["profile"] += [*precision, *threads, *orders.profile_options]
        shaped_by = environment.digest(board), self.cargo.identity
        return {n: self._job(n, [_offramp(board), n, *words], *shaped_by) for n, words in commands.items()}

    def _take(self, content: bytes) -> LatencyProfile:
        """Check the profile that came back, and keep it."""
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / f"profile of {self.site.name}"
            file.write_bytes(content)
            profile = LatencyProfile.load(file)
        if not speaks_of(profile, self.cargo.bundle.manifest):
            raise ProfileError(
                f"the profile that came from {self.site.name} is not one of {self.cargo.bundle.path}: did another "
                "deployment change the bundle there? run the same command again"
            )
        write_file(self.site.out, content)
        return profile

    def _tell_plan(self, link: Link, board: Facts, environment: Environment) -> None:
        """What would be copied and run."""
        plan = self.result.plan
        if not link.ask("environment", digest=environment.digest(board)):
            wheels = look(link, lacking_wheels(link, environment))
            plan += [f"copy {i.path.name}, {(i.size_bytes - o) / MB:.1f} MB" for i, o in wheels]
            plan += [f"pip install there: {' '.join(environment.pip)}"] if environment.pip else []
        plan.append("run offramp doctor")
        names = {item.sha256: path for path, item in self.cargo.files.items()}
        lacking_files = look(link, list(self.cargo.files.values()))
        plan += [f"copy {names[i.sha256]}, {(i.size_bytes - o) / MB:.1f} MB" for i, o in lacking_files]
        engine = self.site.orders.engine
        if engine != "onnxruntime" or self.site.orders.target:
            plan.append("run offramp engines" + ("" if engine or self.site.orders.target else ", if TensorRT is ready"))
        plan.append(f"run offramp profile, and write {self.site.out}")


def stop(site: Site, view: View, connect: Callable[[Address], Ends] = connect) -> list[str]:
    """End what earlier deployments have left running on a board; gives the names of the work."""
    view.step("connecting")
    link = Link(connect(site.address))
    try:
        link.ask("hello", folder=site.folder)
        ended: list[str] = link.ask("stop")
    except Lost as error:
        raise WorkFailed(f"the connection was lost ({error})") from None
    finally:
        link.close()
    return ended


def _offramp(board: Facts) -> str:
    return f"{board.folder}/bin/offramp"


def refused(error: Exception) -> str:
    """The one line for what ended a deployment."""
    return f"the board says: {error}" if isinstance(error, Refused) else str(error)


def as_data(result: Result) -> dict[str, Any]:
    """A result for `--json`."""
    profile = None
    with contextlib.suppress(TypeError):
        profile = None if result.profile is None else msgspec.to_builtins(result.profile)
    return {
        "name": result.site.name,
        "address": result.site.address.host,
        "ok": result.error is None,
        "error": None if result.error is None else refused(result.error),
        "board": result.board or None,
        "folder": result.folder or None,
        "copied_bytes": result.copied_bytes,
        "plan": result.plan or None,
        "doctor": result.doctor,
        "engine": result.engine,
        "engines": result.engines,
        "profile_file": str(result.site.out) if result.profile is not None else None,
        "profile": profile,
    }
