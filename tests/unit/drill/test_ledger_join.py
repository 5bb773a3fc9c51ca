"""A ledger with a past can be joined, and is judged from there on as strictly as from its beginning."""

import pytest
import trio
import trio.testing

from ftd.drill.chain import LAG, Chain
from ftd.drill.ledger_book import BreachKind
from ftd.drill.ledger_join import JoinError, join
from tests.unit.drill.fake_ledger import FakeLedger

WHERE = "here"


def with_past(ledger: FakeLedger, requests: int) -> FakeLedger:
    for number in range(1, requests + 1):
        ledger.chain.append(b"past %d" % number)
    return ledger


async def test_an_empty_ledger_is_taken_as_it_is(nursery: trio.Nursery) -> None:
    ledger = FakeLedger(nursery, WHERE)
    book = await join(ledger.connector_for(WHERE))
    assert (book.answered, book.asked, ledger.requests) == (0, 0, 0)


@pytest.mark.parametrize("past", [1, 5, LAG, 500])
async def test_a_ledger_with_a_past(nursery: trio.Nursery, past: int) -> None:
    ledger = with_past(FakeLedger(nursery, WHERE), past)
    book = await join(ledger.connector_for(WHERE))
    assert (book.answered, book.asked, ledger.requests) == (past + LAG, past + LAG, LAG)
    for _ in range(2 * LAG):
        payload = b"more"
        assert book.chain.append(payload) == ledger.chain.append(payload)


async def test_a_joined_book_sees_what_was_lost(nursery: trio.Nursery) -> None:
    """Also when the guest falls back behind the moment at which it was joined."""
    ledger = with_past(FakeLedger(nursery, WHERE), 100)
    book = await join(ledger.connector_for(WHERE))
    book.read(b"L 20 %016x" % ledger.chain.hash_of(20), 0.0)
    assert [breach.kind for breach in book.breaches] == [BreachKind.LOST]


async def test_a_joined_book_sees_a_false_hash(nursery: trio.Nursery) -> None:
    book = await join(with_past(FakeLedger(nursery, WHERE), 100).connector_for(WHERE))
    book.ask(b"more", 0.0)
    book.read(b"A %d %016x" % (book.asked, 1), 0.0)
    assert [breach.kind for breach in book.breaches] == [BreachKind.MISMATCH]


async def test_nobody_there(nursery: trio.Nursery) -> None:
    with pytest.raises(JoinError, match="nobody listens"):
        await join(FakeLedger(nursery, None).connector_for(WHERE))


async def test_a_guest_that_keeps_no_ledger(
    nursery: trio.Nursery, autojump_clock: trio.testing.MockClock
) -> None:
    with pytest.raises(JoinError, match="answers as a ledger"):
        await join(FakeLedger(nursery, WHERE, silent=True).connector_for(WHERE))


async def test_another_client_in_between(nursery: trio.Nursery) -> None:
    ledger = with_past(FakeLedger(nursery, WHERE), 100)
    ledger.distort = lambda line: line.replace(b"A 101 ", b"A 102 ")
    with pytest.raises(JoinError, match="another client"):
        await join(ledger.connector_for(WHERE))


def test_a_chain_cannot_go_on_from_too_little() -> None:
    with pytest.raises(ValueError, match="takes 38 hashes"):
        Chain(5, [1] * LAG)


def test_what_a_joined_chain_knows() -> None:
    chain = Chain(5, range(LAG + 1))
    assert [chain.knows(number) for number in (-1, 0, 4, 5, 5 + LAG, 6 + LAG)] == [
        True,
        True,
        False,
        True,
        True,
        False,
    ]
    with pytest.raises(IndexError, match="request 4"):
        chain.hash_of(4)
