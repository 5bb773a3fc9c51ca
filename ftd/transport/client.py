"""Calls methods of a control server, each with a deadline."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import TypeVar

import msgspec
import trio

from ftd.config import Address
from ftd.errors import ControlError
from ftd.limits import CONTROL_CONNECT_DEADLINE_S
from ftd.protocol import envelope
from ftd.protocol.control import Message, Method
from ftd.transport.framing import FrameStream, TransportError, TransportFailure

P = TypeVar("P", bound=Message)
R = TypeVar("R", bound=Message)


class ControlConnection:
    """One connection, one request at a time."""

    def __init__(self, stream: trio.abc.Stream) -> None:
        self._stream = FrameStream(stream)
        self._last_id = 0

    async def call(self, method: Method[P, R], params: P, *, deadline_s: float | None = None) -> R:
        """The answer to one request.

        Raises the ControlError that the other side answered with, or TransportError; after the latter the
        connection is of no more use.
        """
        deadline_s = method.deadline_s if deadline_s is None else deadline_s
        self._last_id += 1
        with trio.move_on_after(deadline_s):
            await self._stream.send(envelope.request_frame(self._last_id, method.name, params))
            return await self._receive_answer(method)
        raise TransportError(TransportFailure.TIMEOUT, f"no answer to {method.name} within {deadline_s:g} s")

    async def _receive_answer(self, method: Method[P, R]) -> R:
        try:
            payload = await self._stream.receive()
            if payload is None:
                raise TransportError(TransportFailure.BROKEN, f"closed before it answered {method.name}")
            response = envelope.decode(payload, envelope.Response)
            if response.id != self._last_id:
                raise envelope.FrameError(f"answer {response.id} to request {self._last_id}")
            if response.error is not msgspec.UNSET:
                raise ControlError(response.error.kind, response.error.message)
            assert response.result is not msgspec.UNSET, "checked by Response"
            return envelope.decode(response.result, method.result)
        except envelope.FrameError as error:
            message = f"does not speak ftd's control protocol: {error}"
            raise TransportError(TransportFailure.BROKEN, message) from error


@asynccontextmanager
async def connect_unix(path: Path) -> AsyncIterator[ControlConnection]:
    """A connection to a local socket. Raises TransportError when there is none to be had."""
    async with _connected(partial(trio.open_unix_socket, path)) as connection:
        yield connection


@asynccontextmanager
async def connect_tcp(address: Address) -> AsyncIterator[ControlConnection]:
    """A connection to another host. Raises TransportError when there is none to be had."""
    async with _connected(partial(trio.open_tcp_stream, address.host, address.port)) as connection:
        yield connection


async def call_unix(path: Path, method: Method[P, R], params: P, *, deadline_s: float | None = None) -> R:
    """One request on a connection of its own. Raises ControlError or TransportError."""
    async with connect_unix(path) as connection:
        return await connection.call(method, params, deadline_s=deadline_s)


@asynccontextmanager
async def _connected(
    open_stream: Callable[[], Awaitable[trio.SocketStream]],
) -> AsyncIterator[ControlConnection]:
    stream = await _open(open_stream)
    try:
        yield ControlConnection(stream)
    finally:
        await trio.aclose_forcefully(stream)


async def _open(open_stream: Callable[[], Awaitable[trio.SocketStream]]) -> trio.SocketStream:
    try:
        with trio.fail_after(CONTROL_CONNECT_DEADLINE_S):
            return await open_stream()
    except trio.TooSlowError:
        message = f"no connection within {CONTROL_CONNECT_DEADLINE_S:g} s"
        raise TransportError(TransportFailure.TIMEOUT, message) from None
    except PermissionError as error:
        raise TransportError(TransportFailure.DENIED, "permission denied") from error
    except OSError as error:
        raise TransportError(TransportFailure.ABSENT, _reasons(error)) from error


def _reasons(error: OSError) -> str:
    """trio joins the failures of a name's several addresses into one error, whose cause has the reasons."""
    cause = error.__cause__
    errors = cause.exceptions if isinstance(cause, ExceptionGroup) else (cause or error,)
    return "; ".join(sorted({getattr(each, "strerror", None) or str(each) for each in errors}))
