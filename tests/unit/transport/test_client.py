"""A client survives servers that are silent, lie or hang up."""

from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path

import msgspec
import pytest
import trio

from ftd import limits
from ftd.config import Address
from ftd.protocol import envelope
from ftd.protocol.control import Nothing
from ftd.protocol.control_peer import PEER_HELLO, HelloParams
from ftd.transport.client import connect_tcp
from ftd.transport.framing import TransportError, TransportFailure

HELLO = HelloParams(host="alpha", protocol_version=1)
Behaviour = Callable[[trio.SocketStream], Awaitable[None]]


async def call_server_that(behaves: Behaviour, nursery: trio.Nursery) -> HelloParams:
    """Calls peer_hello on a server whose connections behave like that."""
    listeners = await nursery.start(partial(trio.serve_tcp, behaves, 0, host="127.0.0.1"))
    port = listeners[0].socket.getsockname()[1]
    try:
        async with connect_tcp(Address("127.0.0.1", port)) as connection:
            return await connection.call(PEER_HELLO, HELLO)
    finally:
        nursery.cancel_scope.cancel()


def answering(raw: bytes) -> Behaviour:
    async def answer(stream: trio.SocketStream) -> None:
        await stream.receive_some()
        await stream.send_all(raw)

    return answer


async def test_a_good_answer(nursery: trio.Nursery) -> None:
    good = HelloParams(host="beta", protocol_version=1)
    assert await call_server_that(answering(envelope.result_frame(1, good)), nursery) == good


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"HTTP/1.1 400 Bad Request\r\n\r\n",
        envelope.frame_of(b"\xc0"),
        envelope.result_frame(2, HELLO),
        envelope.result_frame(1, Nothing()),
        envelope.frame_of(msgspec.msgpack.encode({"id": 1})),
        envelope.frame_of(msgspec.msgpack.encode({"id": 1, "error": {"kind": "new-kind", "message": ""}})),
        envelope.result_frame(1, HELLO)[:-1],
    ],
)
async def test_a_bad_answer(nursery: trio.Nursery, raw: bytes) -> None:
    with pytest.raises(TransportError) as caught:
        await call_server_that(answering(raw), nursery)
    assert caught.value.failure is TransportFailure.BROKEN


async def test_a_silent_server(nursery: trio.Nursery, autojump_clock: trio.testing.MockClock) -> None:
    async def silent(stream: trio.SocketStream) -> None:
        await trio.sleep_forever()

    with pytest.raises(TransportError, match="no answer to peer_hello within 5 s") as caught:
        await call_server_that(silent, nursery)
    assert caught.value.failure is TransportFailure.TIMEOUT
    assert trio.current_time() == pytest.approx(limits.CONTROL_FRAME_DEADLINE_S, abs=0.1)


async def test_nobody_listens(tmp_path: Path) -> None:
    listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
    port = listeners[0].socket.getsockname()[1]
    await listeners[0].aclose()
    with pytest.raises(TransportError) as caught:
        async with connect_tcp(Address("127.0.0.1", port)):
            pass
    assert caught.value.failure is TransportFailure.ABSENT
