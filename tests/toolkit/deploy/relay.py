"""A port that passes everything on to another one, until it is told to cut."""

from __future__ import annotations

import contextlib
import socket
import threading


class Relay:
    """Between ssh and sshd. A cut closes both sides without a word, as a broken cable does in the end."""

    def __init__(self, port: int) -> None:
        self._to = port
        self._lock = threading.Lock()
        self._sockets: set[socket.socket] = set()
        self._left: int | None = None
        self.cuts = 0
        self.sent = 0
        """Bytes that have gone to the server."""
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def cut_after(self, count: int) -> None:
        """Cut once so many further bytes have gone to the server."""
        self._left = count

    def cut(self) -> None:
        """Cut now."""
        with self._lock:
            self.cuts += 1
            sockets, self._sockets = self._sockets, set()
        for one in sockets:
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
            one.close()

    def close(self) -> None:
        self._listener.close()
        self.cut()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                server = socket.create_connection(("127.0.0.1", self._to))
                with self._lock:
                    self._sockets |= {client, server}
                for source, target, counts in ((client, server, True), (server, client, False)):
                    threading.Thread(target=self._pass, args=(source, target, counts), daemon=True).start()

    def _pass(self, source: socket.socket, target: socket.socket, counts: bool) -> None:
        with contextlib.suppress(OSError):
            while piece := source.recv(1 << 16):
                if counts and self._left is not None:
                    self._left -= len(piece)
                    if self._left < 0:
                        self._left = None
                        self.cut()
                        return
                target.sendall(piece)
                self.sent += len(piece) * counts
        for one in (source, target):
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
