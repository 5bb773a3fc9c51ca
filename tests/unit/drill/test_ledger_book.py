"""Each way in which a ledger can break a promise, against the account alone."""

import pytest

from ftd.drill.ledger_book import Answer, Book, Breach, BreachKind, GapError, is_introduction


def asked(count: int, answered: int = 0) -> Book:
    book = Book()
    for number in range(1, count + 1):
        book.ask(b"payload %d" % number, now_s=0.0)
    for number in range(1, answered + 1):
        assert isinstance(book.read(line(book, "A", number), now_s=1.0), Answer)
    return book


def line(book: Book, kind: str, number: int, flip: int = 0) -> bytes:
    return f"{kind} {number} {book.chain.hash_of(number) ^ flip:016x}".encode()


def found(book: Book) -> list[tuple[BreachKind, int]]:
    return [(breach.kind, breach.number) for breach in book.breaches]


def test_answers_in_order_are_counted_with_their_latency() -> None:
    book = asked(2)
    assert book.read(line(book, "A", 1), now_s=0.5) == Answer(1, 0.5, repeated=False)
    assert book.read(line(book, "D", 2), now_s=0.75) == Answer(2, 0.75, repeated=True)
    assert (book.answered, book.outstanding, book.repeated) == (2, 0, 1)
    assert book.latencies_s == [0.5, 0.75]
    assert found(book) == []


@pytest.mark.parametrize("kind", ["A", "D", "L"])
def test_a_wrong_hash_is_found(kind: str) -> None:
    book = asked(3, answered=1)
    assert isinstance(book.read(line(book, kind, 2, flip=1 << 63), now_s=2.0), Breach)
    assert found(book) == [(BreachKind.MISMATCH, 2)]
    assert book.answered == 1


@pytest.mark.parametrize("leftover", [False, True])
def test_a_wrong_hash_of_an_old_request_is_found_too(leftover: bool) -> None:
    book = asked(3, answered=3)
    book.read(line(book, "D", 1, flip=1), now_s=2.0, leftover=leftover)
    assert found(book) == [(BreachKind.MISMATCH, 1)]


def test_a_guest_that_introduces_itself_with_less_than_it_answered_has_lost_it() -> None:
    book = asked(5, answered=3)
    book.read(line(book, "L", 2), now_s=2.0, leftover=True)
    assert found(book) == [(BreachKind.LOST, 3)]


@pytest.mark.parametrize("last", [3, 4, 5])
def test_a_guest_may_know_anything_from_the_answered_to_the_asked(last: int) -> None:
    book = asked(5, answered=3)
    assert book.read(line(book, "L", last), now_s=2.0) is None
    assert found(book) == []


def test_a_guest_that_asks_again_for_what_it_answered_has_lost_it() -> None:
    book = asked(5, answered=3)
    book.read(b"E 3", now_s=2.0)
    assert found(book) == [(BreachKind.LOST, 3)]


def test_a_guest_that_misses_what_it_never_answered_is_asked_again() -> None:
    book = asked(5, answered=3)
    with pytest.raises(GapError):
        book.read(b"E 4", now_s=2.0)
    assert found(book) == []
    assert list(book.ask_again()) == [b"R 4 payload 4\n", b"R 5 payload 5\n"]


def test_a_record_that_is_gone_is_lost() -> None:
    book = asked(2, answered=1)
    book.read(b"G 1", now_s=2.0)
    assert found(book) == [(BreachKind.LOST, 1)]


def test_an_answer_that_skips_one_is_out_of_order() -> None:
    book = asked(3, answered=1)
    book.read(line(book, "A", 3), now_s=2.0)
    assert found(book) == [(BreachKind.ORDER, 3)]
    assert book.answered == 1


@pytest.mark.parametrize("kind", ["A 3 ", "D 3 ", "L 3 "])
def test_an_answer_to_what_was_never_asked_is_out_of_order(kind: str) -> None:
    book = asked(2)
    book.read(kind.encode() + b"0" * 16, now_s=2.0)
    assert found(book) == [(BreachKind.ORDER, 3)]


def test_a_repeated_answer_counts_once() -> None:
    book = asked(2, answered=2)
    assert book.read(line(book, "D", 1), now_s=2.0) is None
    assert (book.answered, book.repeated, found(book)) == (2, 1, [])


def test_leftover_lines_answer_nothing() -> None:
    book = asked(2)
    assert book.read(line(book, "A", 2), now_s=1.0, leftover=True) is None
    assert book.read(b"E 1", now_s=1.0, leftover=True) is None
    assert (book.answered, found(book)) == (0, [])


@pytest.mark.parametrize("text", [b"", b"A 1", b"1 0123456789abcdef", b"A 1 0123456789ABCDEF", b"\xff"])
def test_partial_and_foreign_lines_are_discarded(text: bytes) -> None:
    book = asked(1)
    assert book.read(text, now_s=1.0) is None
    assert (book.discarded, book.answered, found(book)) == (1, 0, [])


def test_blackout_is_the_longest_wait_without_any_answer() -> None:
    book = asked(3)
    book.read(line(book, "A", 1), now_s=1.0)
    book.read(line(book, "A", 2), now_s=1.5)
    book.read(line(book, "A", 3), now_s=4.0)
    book.ask(b"", now_s=100.0)  # nobody waited in between
    assert book.silence_s(101.0) == 1.0
    book.read(line(book, "A", 4), now_s=102.0)
    assert book.blackout_s == 2.5
    assert book.silence_s(500.0) == 0.0


def test_only_an_l_line_introduces() -> None:
    assert is_introduction(b"L 0 " + b"0" * 16)
    assert not is_introduction(b"L 0")
    assert not is_introduction(b"A 1 " + b"0" * 16)
