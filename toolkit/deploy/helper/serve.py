"""Requests and answers, on the board: each a line of JSON and as many bytes as its `bytes` says."""

from __future__ import annotations

import contextlib
import json
import os
import select
import shutil
import signal
import sys
import time
import zipfile
from pathlib import Path
from typing import Any, BinaryIO

from toolkit.deploy.helper import facts, install, jobs
from toolkit.deploy.helper.files import CHUNK, Refusal, fresh, inside, link, sha256_of, swap, text_of

WEEK_S = 7 * 24 * 3600.0


class Board:
    """The folder, and what can be asked of it: every public method but `serve` is a request."""

    def __init__(self, stdin: BinaryIO, stdout: BinaryIO) -> None:
        self.stdin, self.stdout = stdin, stdout
        self.folder = Path()

    def hello(self, folder: str) -> dict[str, Any]:
        """Work in this folder; tells about the board."""
        self.folder = Path(folder).expanduser().absolute()
        return facts.facts(self.folder)

    def look(self, files: list[str]) -> list[dict[str, Any]]:
        """Of each content, by its SHA-256: whether it is here, or how much of it and the hash of that part."""
        found: list[dict[str, Any]] = []
        for sha in files:
            whole, part = self._file(sha), self._file(sha, ".part")
            if whole.is_file():
                if sha256_of(whole) == sha:
                    found.append({"whole": True, "bytes": whole.stat().st_size, "sha256": sha})
                    continue
                whole.unlink()
            size = part.stat().st_size if part.is_file() else 0
            found.append({"whole": False, "bytes": size, "sha256": sha256_of(part) if size else ""})
        return found

    def packages(self, names: list[str]) -> list[bool]:
        """Which wheels, by SHA-256, and which installations of pip's are unpacked here."""
        return [(self.folder / "packages" / name).is_dir() for name in names]

    def environment(self, digest: str) -> bool:
        """Whether `bin/offramp` runs this environment."""
        return install.uses(self.folder, digest)

    def put(self, sha256: str, offset: int, payload: bytes) -> None:
        """A piece of a file; at offset 0 the file begins anew."""
        part = self._file(sha256, ".part")
        part.parent.mkdir(parents=True, exist_ok=True)
        with part.open("r+b" if offset else "wb") as stream:
            stream.seek(offset)
            stream.write(payload)
            stream.truncate()

    def finish(self, sha256: str) -> bool:
        """The file has come; it takes its name if it is what it should be, and goes if it is not."""
        part = self._file(sha256, ".part")
        if sha256_of(part) != sha256:
            part.unlink()
            return False
        os.replace(part, self._file(sha256))
        return True

    def install(self, digest: str, wheels: list[str], pip: list[str]) -> None:
        """Make `bin/offramp` run these wheels, by SHA-256, over what pip installed."""
        there = {sha: self._file(sha) for sha in wheels}
        install.install(self.folder, digest, there, pip)
        for file in there.values():
            with contextlib.suppress(FileNotFoundError):
                file.unlink()

    def keep_pip(self, name: str) -> None:
        """What pip installed into NAME.part has come whole."""
        os.sync()
        swap(self.folder / "packages" / f"{name}.part", self.folder / "packages" / name)

    def bundle(self, name: str, files: dict[str, str]) -> str:
        """Make `bundles/NAME` of these files, by path their SHA-256; it is replaced as a whole."""
        target = inside(self.folder / "bundles", name)
        new = fresh(target.with_name(f".{name}.part"))
        for path, sha in files.items():
            link(self._file(sha), inside(new, path))
        target.with_name(f".{name}.json").write_text(json.dumps(sorted(files.values())))
        swap(new, target)
        self._sweep()
        return str(target)

    def get(self, path: str, offset: int) -> bytes:
        """A piece of one of our files."""
        with inside(self.folder, path).open("rb") as stream:
            stream.seek(offset)
            return stream.read(CHUNK)

    def start(self, job: str, key: str, words: list[str], environment: dict[str, str], known: bool) -> str:
        """Begin work that outlives the connection, or find what was begun with the same key."""
        folder = self._job(job)
        if jobs.is_held(folder) and text_of(folder / "key") != key:
            raise Refusal(f"other work ({job}) is going on there; --restart ends it")
        return jobs.start(folder, key, words, environment, known)

    def follow(self, job: str, out: int, err: int) -> dict[str, Any]:
        """Send what the work prints from these offsets on; gives its exit code, None if it was killed."""
        folder = self._job(job)

        def say(name: str, piece: bytes) -> None:
            self._say({"stream": name}, piece)

        def gone() -> bool:
            return bool(select.select([self.stdin], [], [], jobs.LOOK_AGAIN_S)[0])  # nothing is asked meanwhile

        jobs.follow(folder, {"out": out, "err": err}, say, gone)
        status = text_of(folder / "status")
        return {"code": int(status) if status else None}

    def forget(self, job: str) -> None:
        """What the work gave has been taken; the next one begins anew."""
        shutil.rmtree(self._job(job), ignore_errors=True)

    def running(self) -> dict[str, str]:
        """Work that is going on, and its keys."""
        return {job.name: text_of(job / "key") for job in jobs.running(self.folder / "jobs")}

    def stop(self) -> list[str]:
        """End all work."""
        found = jobs.running(self.folder / "jobs")
        for job in found:
            jobs.end(job)
        return [job.name for job in found]

    def serve(self) -> None:
        """Answer requests until nobody asks any more."""
        while line := self.stdin.readline():
            request = json.loads(line)
            if "bytes" in request:
                size = request.pop("bytes")
                request["payload"] = self.stdin.read(size)
                if len(request["payload"]) < size:
                    return
            try:
                answer = getattr(self, request.pop("do"))(**request)
            except Refusal as error:
                self._refuse(str(error))
            except OSError as error:
                name = f"{error.filename}: " if error.filename else ""
                self._refuse(f"{name}{error.strerror or error}", error.errno)
            except (zipfile.BadZipFile, ValueError, RuntimeError) as error:
                self._refuse(f"{type(error).__name__}: {error}")
            else:
                self._say({"bytes": True}, answer) if isinstance(answer, bytes) else self._say(answer)

    def _file(self, sha: str, suffix: str = "") -> Path:
        return inside(self.folder / "files", sha + suffix)

    def _job(self, name: str) -> Path:
        return inside(self.folder / "jobs", name)

    def _sweep(self) -> None:
        """Remove content that no bundle names any more, and what has been on its way for a week."""
        records = (self.folder / "bundles").glob(".*.json")
        kept = {sha for r in records if r.with_name(r.stem[1:]).is_dir() for sha in json.loads(r.read_text())}
        for file in (self.folder / "files").iterdir():
            if file.name not in kept and (file.suffix != ".part" or time.time() - file.stat().st_mtime > WEEK_S):
                file.unlink()

    def _say(self, answer: Any, payload: bytes = b"") -> None:
        line = {"answer": answer, "bytes": len(payload)}
        self.stdout.write(json.dumps(line).encode() + b"\n" + payload)
        self.stdout.flush()

    def _refuse(self, why: str, number: int | None = None) -> None:
        self.stdout.write(json.dumps({"refused": why, "errno": number}).encode() + b"\n")
        self.stdout.flush()


def main() -> None:
    """Serve who started us."""
    os.umask(0o022)  # what is code to others must not be theirs to write
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
    with contextlib.suppress(EOFError, BrokenPipeError):
        Board(sys.stdin.buffer, sys.stdout.buffer).serve()
