"""The sockets on which clients of the console and of the serial port connect."""

from __future__ import annotations

import contextlib
import os
import socket
from pathlib import Path

BACKLOG = 8


class ConsoleError(Exception):
    """The address cannot be listened on; the message says why."""


def listen(what: str, address: str) -> socket.socket:
    """A listening socket on `unix:/path` or `tcp:host:port`. Raises ConsoleError, which says for what it was.

    A socket file that an earlier worker left is replaced: the arbiter, not the file system, decides who runs.
    """
    kind, _, where = address.partition(":")
    try:
        return _listen_unix(where) if kind == "unix" else _listen_tcp(where)
    except OSError as error:
        raise ConsoleError(f"{what} {address}: {error.strerror or error}") from error


def _listen_unix(path: str) -> socket.socket:
    with contextlib.suppress(FileNotFoundError):
        Path(path).unlink()
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    listener.bind(path)
    os.chmod(path, 0o660)
    listener.listen(BACKLOG)
    return listener


def _listen_tcp(where: str) -> socket.socket:
    host, _, port = where.rpartition(":")
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    return socket.create_server((host.strip("[]"), int(port)), family=family, backlog=BACKLOG)
