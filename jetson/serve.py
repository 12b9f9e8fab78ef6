"""Answers over HTTP, on a TCP port or a Unix socket, for programs that are not written in Python.

`POST /infer` takes a frame and gives JSON, `GET /health` says what is loaded, `GET /metrics` is for Prometheus. A
budget counts from the moment the request's head has been read: sending the frame and waiting for others is part of it.
docs/guide/serve.md has the headers.
"""

from __future__ import annotations

import contextlib
import json
import math
import re
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler
from typing import Any
from urllib.parse import parse_qs, urlsplit

import numpy as np

from jetson.errors import BadInput, BudgetError, FrameError, MissingExtra, OfframpError
from jetson.images import decode_image
from jetson.metrics import TYPE, Metrics
from jetson.preprocessing import MAX_EDGE
from jetson.runtime import Runtime
from jetson.scheduling.budget import Budget, clock
from jetson.streams import since_call

MOST_BYTES = 1 << 28
"""Of a frame; larger ones are refused unread."""
PATIENCE_S = 10.0
"""A client that sends nothing for so long is left."""


class Service:
    """What requests are answered with."""

    def __init__(self, runtime: Runtime | None, metrics: Metrics) -> None:
        """Put the parts together.

        Args:
            runtime: loaded; None where there is nothing but metrics.
            metrics: of the answers.
        """
        self.runtime, self.metrics = runtime, metrics

    def answer(self, frame: Any, budget: Budget, arrived: float) -> dict[str, Any]:
        """Answer one frame.

        Args:
            frame: what `Runtime.infer` takes.
            budget: its time.
            arrived: the moment, in seconds, from which the answer's times count.

        Raises:
            FrameError, BudgetError: it cannot be answered so.
            EngineError: an engine failed and no exit could answer.
        """
        assert self.runtime is not None
        began = clock()
        try:
            found = self.runtime.infer(frame, budget)
        except OfframpError as error:
            if not isinstance(error, BadInput):
                self.metrics.fail()
            raise
        found = since_call(found, began - arrived, budget.deadline(arrived) - arrived, self.runtime.late)
        self.metrics.count(found)
        return found.to_dict()

    def health(self) -> dict[str, Any]:
        """What is loaded, and how the device is."""
        if self.runtime is None:
            return {"status": "ok"}
        manifest, shape = self.runtime.bundle.manifest, self.runtime.preprocessor.config
        return {
            "status": "ok",
            "task": manifest.task,
            "exits": [e.name for e in manifest.exits],
            "frame": {"height": shape.height, "width": shape.width, "channels": shape.channels},
            "engine": self.runtime.engines.info.name,
            "policy": self.runtime.policy.name,
            "slowdown": self.runtime.policy.slowdown,
            "notice": self.runtime.notice,
        }


def frame_of(content: bytes, kind: str, shape: str | None) -> Any:
    """A request's body as a frame.

    Args:
        content: the body.
        kind: its Content-Type.
        shape: of raw pixels, `HEIGHTxWIDTHxCHANNELS`; None when the request does not say.

    Raises:
        FrameError: the body is no frame.
        MissingExtra: it is an image file, and Pillow is not installed.
    """
    if kind.partition(";")[0].strip().lower() != "application/octet-stream":
        return decode_image(content)
    edges = re.fullmatch(r"(\d{1,5})x(\d{1,5})x(\d{1,2})", shape or "")
    if edges is None:
        raise FrameError("raw pixels need the header Frame-Shape: HEIGHTxWIDTHxCHANNELS, e.g. 480x640x3")
    height, width, channels = map(int, edges.groups())
    if max(height, width) > MAX_EDGE or height * width * channels != len(content):
        raise FrameError(f"{len(content)} bytes are no uint8 frame of {shape}")
    return np.frombuffer(content, np.uint8).reshape(height, width, channels)


def budget_of(text: str | None, arrived: float) -> Budget:
    """The budget that a request gives, in milliseconds from its arrival.

    Raises:
        BudgetError: it is no time.
    """
    if text is None:
        return Budget.unbounded()
    try:
        ms = float(text)
    except ValueError:
        raise BudgetError(f"a budget is a number of milliseconds, not {text[:40]!r}") from None
    Budget.within(ms)  # refuses NaN and negative figures
    return Budget.until(arrived + ms / 1e3) if ms < math.inf else Budget.unbounded()


class Handler(BaseHTTPRequestHandler):
    """One connection."""

    protocol_version = "HTTP/1.1"
    server_version, sys_version = "offramp", ""
    timeout = PATIENCE_S
    disable_nagle_algorithm = True
    service: Service
    """Of the server's subclass."""

    def do_GET(self) -> None:
        """Health and metrics."""
        path = urlsplit(self.path).path
        if path == "/health":
            self._send(HTTPStatus.OK, self.service.health())
        elif path == "/metrics":
            self._send(HTTPStatus.OK, self.service.metrics.text())
        else:
            self._refuse(HTTPStatus.NOT_FOUND, "there is GET /health, GET /metrics and POST /infer")

    def do_POST(self) -> None:
        """A frame."""
        arrived = clock()
        url = urlsplit(self.path)
        if url.path != "/infer" or self.service.runtime is None:
            self._refuse(HTTPStatus.NOT_FOUND, "frames go to POST /infer")
            return
        length = self.headers.get("Content-Length", "")
        if not re.fullmatch(r"\d{1,12}", length):
            self._refuse(HTTPStatus.LENGTH_REQUIRED, "a frame needs a Content-Length")
            return
        if int(length) > MOST_BYTES:
            self._refuse(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"a frame has at most {MOST_BYTES} bytes")
            return
        content = self.rfile.read(int(length))
        if len(content) < int(length):
            self.close_connection = True
            return
        asked = parse_qs(url.query).get("budget_ms", [self.headers.get("Budget-Ms")])[-1]
        try:
            budget = budget_of(asked, arrived)
            frame = frame_of(content, self.headers.get("Content-Type", ""), self.headers.get("Frame-Shape"))
            answer = self.service.answer(frame, budget, arrived)
        except MissingExtra as error:
            self._send(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, {"error": str(error)})
        except BadInput as error:
            self._send(HTTPStatus.BAD_REQUEST, {"error": str(error)})
        except OfframpError as error:
            self._send(HTTPStatus.INTERNAL_SERVER_ERROR, {"error": str(error)})
        else:
            self._send(HTTPStatus.OK, answer)

    def _refuse(self, status: HTTPStatus, why: str) -> None:
        """Answer without having read the body, after which nothing more can be read."""
        self.close_connection = True
        self._send(status, {"error": why})

    def _send(self, status: HTTPStatus, what: dict[str, Any] | str) -> None:
        text = what if isinstance(what, str) else json.dumps(_finite(what), allow_nan=False) + "\n"
        content = text.encode()
        self.send_response(status)
        self.send_header("Content-Type", TYPE if isinstance(what, str) else "application/json")
        self.send_header("Content-Length", str(len(content)))
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        with contextlib.suppress(ConnectionError):  # the client has gone
            self.wfile.write(content)

    def address_string(self) -> str:
        """Clients of a Unix socket have none."""
        return self.client_address[0] if isinstance(self.client_address, tuple) else "local"

    def log_message(self, format: str, *args: Any) -> None:
        """Requests are counted, not told."""


def _finite(what: Any) -> Any:
    """JSON knows no infinity and no NaN."""
    if isinstance(what, dict):
        return {key: _finite(value) for key, value in what.items()}
    if isinstance(what, list):
        return [_finite(value) for value in what]
    return None if isinstance(what, float) and not math.isfinite(what) else what
