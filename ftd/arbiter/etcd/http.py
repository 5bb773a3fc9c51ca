"""Requests to one server over one connection, whose answers are bounded. Time is bounded by the caller."""

from __future__ import annotations

import os
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

import h11
import trio
from trio.abc import Stream

ANSWER_BYTES_MAX: Final = 64 << 10
"""A record has 4 KiB at most, and its base64 a third more."""
_HEADERS_BYTES_MAX: Final = 16 << 10
_RECEIVE_BYTES: Final = 16 << 10


class HttpError(Exception):
    """No answer, or none that is HTTP; the text says why."""


class HttpConnection:
    """One connection; one request after the other."""

    def __init__(self, stream: Stream, host: str) -> None:
        self._stream = stream
        self._host = host
        self._protocol = h11.Connection(h11.CLIENT, max_incomplete_event_size=_HEADERS_BYTES_MAX)

    async def post(self, path: str, body: bytes) -> tuple[int, bytes]:
        """Status and body of the answer. Raises HttpError."""
        headers = {"Host": self._host, "Content-Type": "application/json", "Content-Length": str(len(body))}
        request = h11.Request(method="POST", target=path, headers=list(headers.items()))
        try:
            if self._protocol.our_state is h11.DONE:
                self._protocol.start_next_cycle()
            parts = [self._protocol.send(e) for e in (request, h11.Data(data=body), h11.EndOfMessage())]
            await self._stream.send_all(b"".join(part or b"" for part in parts))
            return await self._answer()
        except h11.ProtocolError as error:
            raise HttpError(f"what came back is not HTTP as it should be ({error})") from error
        except (trio.BrokenResourceError, OSError) as error:
            raise HttpError(f"the connection broke ({_root(error)})") from error

    async def _answer(self) -> tuple[int, bytes]:
        status, body = 0, bytearray()
        while True:
            match self._protocol.next_event():
                case h11.NEED_DATA:
                    received = await self._stream.receive_some(_RECEIVE_BYTES)
                    if not received:
                        raise HttpError("it closed the connection before its answer was whole")
                    self._protocol.receive_data(bytes(received))
                case h11.InformationalResponse():
                    pass
                case h11.Response(status_code=status):
                    pass
                case h11.Data(data=data):
                    body += data
                    if len(body) > ANSWER_BYTES_MAX:
                        raise HttpError(f"its answer is longer than {ANSWER_BYTES_MAX} bytes")
                case h11.EndOfMessage():
                    return status, bytes(body)
                case event:
                    raise HttpError(f"{type(event).__name__} came where its answer should be")


@asynccontextmanager
async def connected(host: str, port: int, tls: ssl.SSLContext | None) -> AsyncIterator[HttpConnection]:
    """A connection to the server; over TLS if there is a context. Raises HttpError."""
    try:
        stream: Stream = await trio.open_tcp_stream(host, port)
    except OSError as error:
        raise HttpError(f"no connection ({_root(error)})") from error
    try:
        if tls is not None:
            stream = await _secured(stream, host, tls)
        yield HttpConnection(stream, host)
    finally:
        await trio.aclose_forcefully(stream)


async def _secured(stream: Stream, host: str, tls: ssl.SSLContext) -> Stream:
    secured = trio.SSLStream(stream, tls, server_hostname=host, https_compatible=True)
    try:
        await secured.do_handshake()
    except trio.BrokenResourceError as error:
        raise HttpError(f"TLS was not agreed on ({_root(error)})") from error
    return secured


def _root(error: BaseException) -> str:
    """What lies at the bottom: trio names the attempt, its causes say what happened."""
    while True:
        if isinstance(error, BaseExceptionGroup):
            error = error.exceptions[0]
        elif error.__cause__ is not None:
            error = error.__cause__
        else:
            break
    if isinstance(error, ssl.SSLError):
        return getattr(error, "verify_message", "") or error.reason or str(error)
    if isinstance(error, OSError) and (error.errno or 0) > 0:
        return os.strerror(error.errno or 0)  # its own text would repeat the address
    return str(error) or type(error).__name__
