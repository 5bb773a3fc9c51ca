"""The client against a fake ledger: it follows the guest, asks again, and finds every way of misbehaving."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio
import trio.testing

from ftd.drill.ledger import Answer, BreachKind, Connected, Disconnected, Event, LedgerClient, connector_of
from tests.unit.drill.fake_ledger import FakeLedger

ALPHA, BETA = "unix:/alpha", "unix:/beta"


class Drill:
    """A client of ALPHA and BETA, its fake ledger at ALPHA, and what the client observed."""

    def __init__(self, nursery: trio.Nursery) -> None:
        self.events: list[Event] = []
        self._observed = trio.Event()
        self.ledger = FakeLedger(nursery, reachable=ALPHA)
        self.client = LedgerClient(
            [ALPHA, BETA],
            window=4,
            requests_per_second=1000,
            observe=self._observe,
            connector_for=self.ledger.connector_for,
        )

    @property
    def breaches(self) -> list[BreachKind]:
        return [breach.kind for breach in self.client.book.breaches]

    async def answered(self, count: int) -> None:
        while self.client.book.answered < count:
            await self._observed.wait()

    def _observe(self, event: Event) -> None:
        self.events.append(event)
        self._observed.set()
        self._observed = trio.Event()


@asynccontextmanager
async def drill() -> AsyncIterator[Drill]:
    async with trio.open_nursery() as nursery:
        made = Drill(nursery)
        with trio.fail_after(60):
            async with trio.open_nursery() as client_nursery:
                client_nursery.start_soon(made.client.run)
                yield made
        nursery.cancel_scope.cancel()


async def test_nothing_is_asked_after_the_finish(autojump_clock: trio.testing.MockClock) -> None:
    async with drill() as it:
        await it.answered(10)
        asked = it.client.book.asked
        it.client.finish()
    assert it.client.book.asked == asked


async def test_an_honest_ledger_passes(autojump_clock: trio.testing.MockClock) -> None:
    async with drill() as it:
        await it.answered(100)
        it.client.finish()
    assert it.breaches == []
    assert it.client.book.outstanding == 0
    assert it.ledger.chain.last == it.client.book.answered >= 100
    assert it.client.book.repeated == 0
    assert it.events[0] == Connected(ALPHA)
    assert [event.number for event in it.events if isinstance(event, Answer)][:3] == [1, 2, 3]


async def test_the_client_keeps_its_pace(autojump_clock: trio.testing.MockClock) -> None:
    async with drill() as it:
        await it.answered(500)
        assert trio.current_time() == pytest.approx(0.5, rel=0.05)
        it.client.finish()


async def test_a_failover_is_followed_and_costs_nothing(autojump_clock: trio.testing.MockClock) -> None:
    async with drill() as it:
        await it.answered(50)
        await it.ledger.fail_over(None)
        await trio.sleep(0.3)
        await it.ledger.fail_over(BETA)
        await it.answered(100)
        it.client.finish()
    assert it.breaches == []
    assert Connected(BETA) in it.events
    assert Disconnected(ALPHA, "closed") in it.events
    assert it.client.book.blackout_s == pytest.approx(0.3, abs=0.02)


async def test_unanswered_requests_are_asked_again(autojump_clock: trio.testing.MockClock) -> None:
    async with drill() as it:
        await it.answered(50)
        it.ledger.silent = True  # chains them, but the answers never get out
        await trio.sleep(0.05)
        chained = it.ledger.chain.last
        assert chained == it.client.book.answered + 4
        it.ledger.silent = False
        await it.ledger.fail_over(BETA)
        await it.answered(chained + 10)
        it.client.finish()
    assert it.breaches == []
    assert it.client.book.repeated == 4


async def test_unanswered_requests_may_be_forgotten(autojump_clock: trio.testing.MockClock) -> None:
    async with drill() as it:
        await it.answered(50)
        it.ledger.silent = True
        await trio.sleep(0.05)
        it.ledger.silent = False
        await it.ledger.fail_over(BETA, keep=it.client.book.answered + 1)
        await it.answered(100)
        it.client.finish()
    assert it.breaches == []


async def test_a_forgotten_answer_is_found(autojump_clock: trio.testing.MockClock) -> None:
    async with drill() as it:
        await it.answered(50)
        await it.ledger.fail_over(BETA, keep=it.client.book.answered - 1)
    assert it.breaches == [BreachKind.LOST]


async def test_a_silent_connection_is_left(autojump_clock: trio.testing.MockClock) -> None:
    async with drill() as it:
        await it.answered(50)
        it.ledger.silent = True
        await trio.sleep(0.4)
        it.ledger.silent = False
        await it.answered(100)
        it.client.finish()
    assert Disconnected(ALPHA, "silent") in it.events
    assert it.breaches == []
    assert it.client.book.blackout_s >= 0.4


def flip_hash(line: bytes) -> bytes:
    return line[:-2] + (b"1" if line[-2:-1] == b"0" else b"0") + b"\n"


def skip_ahead(line: bytes) -> bytes:
    return b"A 9999 " + b"0" * 16 + b"\n"


def demand_the_first(line: bytes) -> bytes:
    return b"E 1\n"


def say_gone(line: bytes) -> bytes:
    return b"G 1\n"


@pytest.mark.parametrize(
    ("distort", "kind"),
    [
        (flip_hash, BreachKind.MISMATCH),
        (skip_ahead, BreachKind.ORDER),
        (demand_the_first, BreachKind.LOST),
        (say_gone, BreachKind.LOST),
    ],
)
async def test_misbehaviour_ends_the_run(
    distort: Callable[[bytes], bytes], kind: BreachKind, autojump_clock: trio.testing.MockClock
) -> None:
    async with drill() as it:
        await it.answered(50)
        it.ledger.distort = distort
    assert it.breaches == [kind]
    assert it.events[-1] in (it.client.book.breaches[0], Disconnected(ALPHA, "closed"))


async def test_swapped_answers_are_found(autojump_clock: trio.testing.MockClock) -> None:
    held: list[bytes] = []

    def swap(line: bytes) -> bytes:
        held.append(line)
        return b"".join(reversed(held)) if len(held) == 2 else b""

    async with drill() as it:
        await it.answered(50)
        it.ledger.distort = swap
    assert it.breaches == [BreachKind.ORDER]


async def test_noise_between_lines_is_discarded(autojump_clock: trio.testing.MockClock) -> None:
    async with drill() as it:
        it.ledger.distort = lambda line: b"\x00\xffnoise\n" + line
        await it.answered(50)
        it.client.finish()
    assert it.breaches == []
    assert it.client.book.discarded >= 50


async def test_a_request_lost_on_the_way_is_asked_again(autojump_clock: trio.testing.MockClock) -> None:
    async with drill() as it:
        await it.answered(50)
        del it.ledger.chain._hashes[it.client.book.answered + 1 :]
        expected = b"E %d\n" % (it.client.book.answered + 1)
        it.ledger.distort = lambda line: line if line[:1] == b"L" else expected
        await trio.sleep(0.01)
        it.ledger.distort = lambda line: line
        await it.answered(100)
        it.client.finish()
    assert it.breaches == []
    assert any(isinstance(event, Disconnected) and "expects" in event.reason for event in it.events)


async def test_a_line_without_end_is_cut_off(autojump_clock: trio.testing.MockClock) -> None:
    async with drill() as it:
        await it.answered(10)
        it.ledger.distort = lambda line: b"x" * 10000
        await trio.sleep(0.02)
        it.ledger.distort = lambda line: line
        await it.answered(20)
        it.client.finish()
    assert Disconnected(ALPHA, "a line without end") in it.events


async def test_unix_addresses_are_dialled(tmp_path: Path) -> None:
    path = tmp_path / "console"
    with trio.socket.socket(trio.socket.AF_UNIX) as listener:
        await listener.bind(str(path))
        listener.listen()
        async with await connector_of(f"unix:{path}")():
            accepted, _ = await listener.accept()
            accepted.close()


@pytest.mark.parametrize("address", ["", "unix:", "tcp:host", "tcp::80", "udp:a:1", "tcp:a:b"])
def test_addresses_of_other_kinds_are_refused(address: str) -> None:
    with pytest.raises(ValueError, match="not an address"):
        LedgerClient([address])
