"""A way to a member that loses an answer: the transaction arrives there, and nothing comes back."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import trio

from ftd.protocol.control import EndpointSpec
from tests.etcd.cluster import Member

TRANSACTION = b"/v3/kv/txn"
Then = Callable[[trio.SocketStream], Awaitable[None]]


def _nothing() -> None:
    """It is forwarded as it comes."""


async def answered(far: trio.SocketStream) -> None:
    """The member has done it."""
    assert await far.receive_some(65536)


@asynccontextmanager
async def losing_wire(
    member: Member, *, before: Callable[[], None] = _nothing, then: Then = answered
) -> AsyncIterator[EndpointSpec]:
    """Where the wire begins. ``before`` and ``then`` are called around a transaction's going through; after
    that the wire is cut."""

    async def serve(near: trio.SocketStream) -> None:
        far = await trio.open_tcp_stream("127.0.0.1", member.port)
        async with near, far, trio.open_nursery() as nursery:
            pump_ended = trio.Event()
            pump = trio.CancelScope()
            nursery.start_soon(_pump, far, near, pump, pump_ended)
            while data := bytes(await near.receive_some(65536)):
                if TRANSACTION in data:
                    pump.cancel()
                    await pump_ended.wait()
                    before()
                    await far.send_all(data)
                    await then(far)
                    break
                await far.send_all(data)
            nursery.cancel_scope.cancel()

    async with trio.open_nursery() as nursery:
        listeners = await nursery.start(trio.serve_tcp, serve, 0)
        yield EndpointSpec(host="127.0.0.1", port=listeners[0].socket.getsockname()[1])
        nursery.cancel_scope.cancel()


async def _pump(
    source: trio.SocketStream, sink: trio.SocketStream, scope: trio.CancelScope, ended: trio.Event
) -> None:
    with scope:
        async for data in source:
            await sink.send_all(data)
    ended.set()
