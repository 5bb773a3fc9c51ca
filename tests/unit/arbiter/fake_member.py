"""A server that says what it is told to say, where an etcd member would be."""

from __future__ import annotations

import base64
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import h11
import trio

from ftd.arbiter import record
from ftd.arbiter.contract import Record
from ftd.protocol.control import EndpointSpec

Serve = Callable[[trio.SocketStream], Awaitable[None]]
CLUSTER = "9398579039821186480"


def http(body: bytes, status: str = "200 OK") -> bytes:
    """A whole answer."""
    return b"HTTP/1.1 %s\r\nContent-Length: %d\r\n\r\n%s" % (status.encode(), len(body), body)


def header(term: int = 7, cluster: str = CLUSTER) -> dict[str, str]:
    """As the gateway writes it."""
    return {"cluster_id": cluster, "member_id": "1", "revision": "12", "raft_term": str(term)}


def found(key: str, value: Record | bytes | None, *, term: int = 7, cluster: str = CLUSTER) -> bytes:
    """Answer to a read."""
    body: dict[str, Any] = {"header": header(term, cluster)}
    if value is not None:
        raw = record.encode(value) if isinstance(value, Record) else value
        pair = {"key": _base64(key.encode()), "mod_revision": "11", "version": "1", "value": _base64(raw)}
        body |= {"kvs": [pair], "count": "1"}
    return http(json.dumps(body).encode())


def swapped(*, term: int = 7) -> bytes:
    """Answer to a transaction that was done."""
    done = {"response_put": {"header": {"revision": "12"}}}
    return http(json.dumps({"header": header(term), "succeeded": True, "responses": [done]}).encode())


def _base64(raw: bytes) -> str:
    return base64.b64encode(raw).decode()


def saying(*answers: bytes) -> Serve:
    """Gives these answers, whatever the requests are; then it closes."""
    left = list(answers)

    async def serve(stream: trio.SocketStream) -> None:
        protocol = h11.Connection(h11.SERVER)
        while left:
            while not isinstance(event := protocol.next_event(), h11.EndOfMessage):
                if event is h11.NEED_DATA:
                    protocol.receive_data(bytes(await stream.receive_some(65536)))
                if isinstance(event, h11.ConnectionClosed):
                    return
            await stream.send_all(left.pop(0))
            protocol = h11.Connection(h11.SERVER)

    return serve


@asynccontextmanager
async def member(serve: Serve) -> AsyncIterator[EndpointSpec]:
    """Answers each connection with ``serve`` while in the block."""

    async def handle(stream: trio.SocketStream) -> None:
        try:
            await serve(stream)
        except (trio.BrokenResourceError, h11.RemoteProtocolError):
            return  # the other end had enough

    async with trio.open_nursery() as nursery:
        listeners = await nursery.start(trio.serve_tcp, handle, 0)
        port = listeners[0].socket.getsockname()[1]
        yield EndpointSpec(host="127.0.0.1", port=port)
        nursery.cancel_scope.cancel()
