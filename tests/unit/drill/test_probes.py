"""Observers on the network, against services that behave, stumble and lie."""

import re
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial

import pytest
import trio
import trio.testing

from ftd.drill import probes
from ftd.drill.ledger import Connector
from ftd.drill.probe_ledger import LedgerProbe
from ftd.drill.probe_tcp import ConnectProbe, EchoProbe
from ftd.errors import ControlError, ErrorKind
from tests.unit.drill.fake_ledger import FakeLedger

Serve = Callable[[trio.SocketStream], Awaitable[None]]


@asynccontextmanager
async def service(serve: Serve) -> AsyncIterator[Connector]:
    """A TCP service on loopback."""
    async with trio.open_nursery() as nursery:
        [listener, *_] = await nursery.start(partial(trio.serve_tcp, serve, 0, host="127.0.0.1"))
        yield partial(trio.open_tcp_stream, "127.0.0.1", listener.socket.getsockname()[1])
        nursery.cancel_scope.cancel()


async def echo(stream: trio.SocketStream) -> None:
    async for data in stream:
        await stream.send_all(data)


async def observed(probe: EchoProbe | ConnectProbe, answers: int) -> None:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(probe.run)
        with trio.fail_after(10):
            while probe.tally.answered < answers and not probe.tally.breaches:
                await trio.sleep(0.01)
        await probe.finish()
        nursery.cancel_scope.cancel()


async def test_an_echo_that_keeps_everything() -> None:
    async with service(echo) as connector:
        probe = EchoProbe(connector, "x")
        await probe.begin()
        await observed(probe, 50)
    tally = probe.tally
    assert (tally.lost, tally.repeated, tally.breaches) == (0, 0, [])
    assert tally.asked == tally.answered == len(tally.answer_times_s) >= 50


def lying(change: Callable[[bytes], bytes]) -> Serve:
    async def serve(stream: trio.SocketStream) -> None:
        async for data in stream:
            await stream.send_all(change(bytes(data)))

    return serve


@pytest.mark.parametrize(
    ("change", "said", "repeated"),
    [
        (lambda data: data.replace(b"3\n", b"3\n3\n", 1), "line 3 came twice", 1),
        (lambda data: data.replace(b"3\n", b"", 1), "b'4' came where 3 was due", 0),
        (lambda data: data.replace(b"3\n", b"x\n", 1), "b'x' came where 3 was due", 0),
    ],
)
async def test_an_echo_that_does_not(change: Callable[[bytes], bytes], said: str, repeated: int) -> None:
    async with service(lying(change)) as connector:
        probe = EchoProbe(connector, "x")
        await observed(probe, 50)
    assert probe.tally.breaches[0] == said
    assert probe.tally.repeated >= repeated


async def test_a_connection_that_does_not_survive() -> None:
    async def short(stream: trio.SocketStream) -> None:
        for _ in range(3):
            await stream.send_all(await stream.receive_some())

    async with service(short) as connector:
        probe = EchoProbe(connector, "x")
        await observed(probe, 50)
    assert "the connection ended" in probe.tally.breaches[0]


async def test_connections() -> None:
    async with service(echo) as connector:
        probe = ConnectProbe(connector, "x")
        await probe.begin()
        await observed(probe, 10)
    assert (probe.tally.lost, probe.tally.breaches) == (0, [])
    assert 10 <= probe.tally.answered <= probe.tally.asked


async def nobody() -> trio.abc.Stream:
    raise ConnectionRefusedError


@pytest.mark.parametrize("probe", [EchoProbe(nobody, "10.0.0.9:7"), ConnectProbe(nobody, "10.0.0.9:7")])
async def test_nobody_is_there(probe: EchoProbe | ConnectProbe) -> None:
    with pytest.raises(ControlError, match=r"no answer: 10\.0\.0\.9:7"):
        await probe.begin()


async def test_a_service_that_is_no_echo() -> None:
    async with service(lying(lambda data: b"HTTP/1.1 400 Bad Request\r\n")) as connector:
        with pytest.raises(ControlError, match="does not send back"):
            await EchoProbe(connector, "x").begin()


async def test_a_ledger_is_followed_from_host_to_host(nursery: trio.Nursery) -> None:
    ledger = FakeLedger(nursery, "alpha")
    for number in range(60):
        ledger.chain.append(b"past %d" % number)
    probe = LedgerProbe(["alpha", "beta"], connector_for=ledger.connector_for)
    await probe.begin()
    nursery.start_soon(probe.run)
    await answered(probe, 30)
    await ledger.fail_over("beta")
    await answered(probe, 60)
    await probe.finish()
    tally = probe.tally
    assert (tally.lost, tally.breaches) == (0, [])
    assert tally.asked == tally.answered == len(tally.answer_times_s)


async def test_a_ledger_that_forgets_is_found_out(nursery: trio.Nursery) -> None:
    ledger = FakeLedger(nursery, "alpha")
    probe = LedgerProbe(["alpha", "beta"], connector_for=ledger.connector_for)
    await probe.begin()
    nursery.start_soon(probe.run)
    await answered(probe, 30)
    await ledger.fail_over("beta", keep=10)
    with trio.fail_after(10):
        while not probe.tally.breaches:
            await trio.sleep(0.01)
    assert "no longer knows" in probe.tally.breaches[0]


async def answered(probe: LedgerProbe, count: int) -> None:
    with trio.fail_after(10):
        while len(probe.tally.answer_times_s) < count:
            await trio.sleep(0.01)


async def test_a_guest_without_a_ledger(nursery: trio.Nursery) -> None:
    probe = LedgerProbe(["alpha"], connector_for=FakeLedger(nursery, None).connector_for)
    with pytest.raises(ControlError, match="--probe echo:ADDRESS:PORT") as info:
        await probe.begin()
    assert info.value.kind is ErrorKind.WRONG_STATE


@pytest.mark.parametrize(
    "text", ["", "ping:10.0.0.1", "tcp:", "tcp:10.0.0.1", "echo:10.0.0.1:x", "tcp::7", "console:1"]
)
def test_what_is_no_probe(text: str) -> None:
    with pytest.raises(ControlError, match=re.escape(f"--probe {text!r}")) as info:
        probes.make(text, ["unix:/c"])
    assert info.value.kind is ErrorKind.BAD_REQUEST


def test_what_is_one() -> None:
    assert isinstance(probes.make("console", ["unix:/c"]), LedgerProbe)
    assert isinstance(probes.make("tcp:10.0.0.1:7", []), ConnectProbe)
    assert isinstance(probes.make("echo:10.0.0.1:7", []), EchoProbe)
