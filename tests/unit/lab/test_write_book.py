"""The book of acknowledged writes: what a database forgets or makes up must show."""

import pytest

from lab.outside.write_book import WriteBook, value_of


def book_of(asked: int, acknowledged: int) -> WriteBook:
    book = WriteBook()
    for _ in range(asked):
        book.ask()
    for number in range(1, acknowledged + 1):
        book.acknowledge(number)
    return book


def look_at_all(book: WriteBook, *, missing: tuple[int, ...] = ()) -> None:
    book.begin_verification()
    for number in range(1, book.asked + 1):
        book.look(number, None if number in missing else value_of(number))


def test_a_database_that_has_all_is_intact() -> None:
    book = book_of(5, 5)
    look_at_all(book)
    assert book.intact


def test_a_write_that_was_not_acknowledged_may_be_there_or_not() -> None:
    book = book_of(5, 4)
    look_at_all(book)
    assert book.intact
    look_at_all(book, missing=(5,))
    assert book.intact


def test_a_missing_acknowledged_write_is_found() -> None:
    book = book_of(5, 4)
    look_at_all(book, missing=(3, 5))
    assert (book.intact, book.missing) == (False, [3])


def test_a_value_of_another_write_is_found_even_without_an_acknowledgement() -> None:
    book = book_of(2, 1)
    book.look(1, value_of(1))
    book.look(2, value_of(1))
    assert (book.intact, book.wrong) == (False, [2])


def test_what_was_not_looked_at_is_not_intact() -> None:
    assert not book_of(3, 3).intact
    book = book_of(3, 3)
    book.look(1, value_of(1))
    assert not book.intact
    assert not book_of(0, 0).intact


def test_an_acknowledgement_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="of write 2, of 1"):
        book_of(1, 0).acknowledge(2)
