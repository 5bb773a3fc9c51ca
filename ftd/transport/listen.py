"""Listening sockets for control servers."""

import os
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import trio

from ftd.config import Address
from ftd.errors import ControlError, ErrorKind

BACKLOG = 64


@asynccontextmanager
async def unix_listener(path: Path, mode: int = 0o600) -> AsyncIterator[trio.SocketListener]:
    """Listens on `path`, and removes it at the end. A socket that nobody listens on any more is replaced.

    Raises ControlError when another process listens there already, or the path cannot be bound.
    """
    if await _is_listening(path):
        raise ControlError(ErrorKind.REFUSED, f"another process listens on {path} already")
    sock, inode = _bind(path, mode)
    try:
        yield trio.SocketListener(trio.socket.from_stdlib_socket(sock))
    finally:
        sock.close()
        _remove(path, inode)


async def tcp_listeners(address: Address) -> list[trio.SocketListener]:
    """Listens on every address that `address.host` stands for.

    Raises ControlError(CONFIG) that says why it cannot.
    """
    try:
        return await trio.open_tcp_listeners(address.port, host=address.host, backlog=BACKLOG)
    except OSError as error:
        why = error.strerror or str(error)
        raise ControlError(ErrorKind.CONFIG, f"cannot listen on {address}: {why}") from error


async def _is_listening(path: Path) -> bool:
    try:
        stream = await trio.open_unix_socket(path)
    except (ConnectionRefusedError, FileNotFoundError):
        return False
    except OSError:
        return True  # EAGAIN: someone listens, but is too busy or stopped to accept
    await stream.aclose()
    return True


def _bind(path: Path, mode: int) -> tuple[socket.socket, int]:
    path.unlink(missing_ok=True)
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        sock.bind(os.fspath(path))
        # Until listen() nobody can connect, so nobody uses the wider mode that bind gave.
        path.chmod(mode)
        sock.listen(BACKLOG)
    except OSError as error:
        sock.close()
        raise ControlError(ErrorKind.CONFIG, f"cannot listen on {path}: {error.strerror}") from error
    return sock, path.stat().st_ino


def _remove(path: Path, inode: int) -> None:
    """Removes our socket, but not one that a successor has put in its place."""
    with suppress(FileNotFoundError):
        if path.stat().st_ino == inode:
            path.unlink()
