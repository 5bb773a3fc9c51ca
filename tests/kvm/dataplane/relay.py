"""A slow or blocked network: forwards bytes between two sockets, at a rate, or not at all."""

from __future__ import annotations

import contextlib
import select
import socket
import threading
import time
from types import TracebackType
from typing import Final

CHUNK_BYTES: Final = 16384


def tcp_pair() -> tuple[socket.socket, socket.socket]:
    """Two ends of one TCP connection on loopback."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        one = socket.create_connection(server.getsockname())
        other, _ = server.accept()
    for end in (one, other):
        end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return one, other


class Relay:
    """Two connections and a thread between them. ``near`` and ``far`` are the ends to use.

    What goes from near to far is limited to ``bytes_per_s``, is late by at least ``delay_s``, and stops while
    `block` holds; the way back is free.
    """

    def __init__(self, bytes_per_s: float = float("inf"), *, delay_s: float = 0.0) -> None:
        self.near, self._inner_near = tcp_pair()
        self._inner_far, self.far = tcp_pair()
        for end in (self._inner_near, self._inner_far):
            end.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 * CHUNK_BYTES)
        self._bytes_per_s = bytes_per_s
        self._delay_s = delay_s
        self._open = threading.Event()
        self._open.set()
        self._over = threading.Event()
        self._threads = [
            threading.Thread(target=self._forward, args=(self._inner_near, self._inner_far, True)),
            threading.Thread(target=self._forward, args=(self._inner_far, self._inner_near, False)),
        ]

    def block(self) -> None:
        """Nothing is read from near any more."""
        self._open.clear()

    def unblock(self) -> None:
        self._open.set()

    def __enter__(self) -> Relay:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        self._open.set()
        for end in (self._inner_near, self._inner_far):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join()
        self._inner_near.close()
        self._inner_far.close()

    def _forward(self, source: socket.socket, sink: socket.socket, limited: bool) -> None:
        with contextlib.suppress(OSError):
            while not self._over.is_set():
                if limited:
                    self._open.wait()
                if not select.select([source], [], [], 0.1)[0]:
                    continue
                if limited and not self._open.is_set():
                    continue
                chunk = source.recv(CHUNK_BYTES)
                if not chunk:
                    break
                if limited:
                    time.sleep(self._delay_s)
                sink.sendall(chunk)
                if limited:
                    time.sleep(len(chunk) / self._bytes_per_s)
        with contextlib.suppress(OSError):
            sink.shutdown(socket.SHUT_WR)
