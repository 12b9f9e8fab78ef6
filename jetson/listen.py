"""Where `jetson.serve` listens: a TCP port, or a Unix socket of this user's."""

from __future__ import annotations

import contextlib
import os
import socket
import socketserver
import stat
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from jetson.errors import BadInput, StorageError
from jetson.files import storage
from jetson.serve import Handler, Service

MOST_CLIENTS = 64
"""Connections at a time; further ones wait to be accepted."""


class _Threads(socketserver.ThreadingMixIn):
    daemon_threads = True
    block_on_close = False

    def __init__(self, *arguments: Any) -> None:
        self._places = threading.BoundedSemaphore(MOST_CLIENTS)
        super().__init__(*arguments)

    def process_request(self, request: Any, client_address: Any) -> None:
        self._places.acquire()
        super().process_request(request, client_address)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._places.release()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A connection that broke is no news; what is a bug of ours is."""
        if not isinstance(sys.exc_info()[1], OSError):
            super().handle_error(request, client_address)  # type: ignore[misc]


class TcpServer(_Threads, socketserver.TCPServer):
    """On a port."""

    @property
    def port(self) -> int:
        """That it listens on."""
        found: int = self.socket.getsockname()[1]
        return found

    allow_reuse_address = True
    request_queue_size = MOST_CLIENTS


def on_port(service: Service, host: str, port: int) -> TcpServer:
    """A server that listens on a port; 0 is any that is free.

    Raises:
        BadInput: the port is taken, or the host is not this one.
    """
    handler = type("_Handler", (Handler,), {"service": service})
    try:
        return TcpServer((host, port), handler)
    except (OSError, OverflowError) as error:
        said = getattr(error, "strerror", None) or error
        raise BadInput(f"cannot listen on {host}:{port} ({said}); choose another --port or --host") from None


def on_socket(service: Service, path: Path) -> socketserver.BaseServer:
    """A server that listens on a Unix socket which this user alone may open; one that is left over is replaced.

    Raises:
        BadInput: something else lies there, somebody listens on it, or the system has no such sockets.
        StorageError: it cannot be made there.
    """
    if not hasattr(socketserver, "UnixStreamServer"):
        raise BadInput("this system has no Unix sockets: give --port")

    class UnixServer(_Threads, socketserver.UnixStreamServer):
        request_queue_size = MOST_CLIENTS

        def server_close(self) -> None:
            super().server_close()
            with contextlib.suppress(OSError):
                path.unlink()

    if os.path.lexists(path):
        _replace(path)
    handler = type("_Handler", (Handler,), {"service": service, "disable_nagle_algorithm": False})
    before = os.umask(0o177)
    try:
        return UnixServer(str(path), handler)
    except OSError as error:
        raise StorageError(f"{path}: no socket can be made there ({error.strerror or error})") from None
    finally:
        os.umask(before)


def _replace(path: Path) -> None:
    """Remove a socket that nobody listens on."""
    with storage(path, "use"):
        if not stat.S_ISSOCK(path.lstat().st_mode):
            raise BadInput(f"{path}: is there already, and is no socket")
        with socket.socket(socket.AF_UNIX) as probe, contextlib.suppress(ConnectionRefusedError):
            probe.connect(str(path))
            raise BadInput(f"{path}: another process listens there")
        path.unlink()


@contextlib.contextmanager
def listening(server: socketserver.BaseServer) -> Iterator[None]:
    """The server answers beside this thread while the block runs."""
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.1}, daemon=True)
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
