"""The account of a chain connection: it must find every loss, repetition and change that is planted."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ftd.drill.chain import Chain
from lab.outside.chain_account import ChainAccount


def answers(count: int) -> list[bytes]:
    """What a sound service answers, computed apart from the account."""
    chain = Chain()
    return [b"%d %016x\n" % (n, chain.append(b"request %d" % n)) for n in range(1, count + 1)]


def asked(count: int) -> ChainAccount:
    account = ChainAccount()
    for number in range(1, count + 1):
        assert account.ask(b"request %d" % number, 0.0) == b"request %d\n" % number
    return account


def damage(account: ChainAccount) -> tuple[int, int, int]:
    return account.lost_bytes, account.repeated_bytes, account.wrong_bytes


@given(st.lists(st.integers(1, 60), max_size=20))
def test_a_sound_stream_is_intact_in_pieces_of_any_size(sizes: list[int]) -> None:
    account, stream = asked(20), b"".join(answers(20))
    for size in sizes:
        account.receive(stream[:size], 1.0)
        stream = stream[size:]
    account.receive(stream, 2.0)
    assert account.intact
    assert (account.answered, damage(account)) == (20, (0, 0, 0))


def test_an_answer_left_out_is_lost() -> None:
    account, lines = asked(5), answers(5)
    account.receive(b"".join(lines[:2] + lines[4:]), 1.0)
    assert damage(account) == (len(lines[2]) + len(lines[3]), 0, 0)
    assert not account.intact


def test_an_answer_that_comes_twice_is_repeated() -> None:
    account, lines = asked(5), answers(5)
    account.receive(b"".join(lines[:4] + lines[2:]), 1.0)
    assert damage(account) == (0, len(lines[2]) + len(lines[3]), 0)
    assert not account.intact


def test_a_guest_that_lost_a_request_is_found_at_its_next_answer() -> None:
    chain = Chain()
    stream = [b"%d %016x\n" % (n, chain.append(b"request %d" % (n + (n > 2)))) for n in range(1, 5)]
    account = asked(5)
    account.receive(b"".join(stream), 1.0)
    assert account.answered == 2
    assert account.wrong_bytes == len(stream[2]) + len(stream[3])


def test_an_answer_to_what_was_never_asked_is_wrong() -> None:
    account = asked(2)
    account.receive(b"".join(answers(3)), 1.0)
    assert account.wrong_bytes == len(answers(3)[2])


@pytest.mark.parametrize("line", [b"", b"1", b"x 0", b"-1 0", b"9" * 5000, b"\xd9\xa1 0", b"0 0"])
def test_noise_is_wrong(line: bytes) -> None:
    account = asked(1)
    account.receive(line + b"\n", 1.0)
    assert account.wrong_bytes == len(line) + 1


def test_any_bytes_cut_out_repeated_or_flipped_are_found() -> None:
    chance, stream = random.Random(1), b"".join(answers(30))
    for _ in range(500):
        first = chance.randrange(len(stream))
        last = min(first + chance.randint(1, 100), len(stream))
        flipped = bytes([stream[first] ^ 1 << chance.randrange(8)])
        for planted in (
            stream[:first] + stream[last:],
            stream[:last] + stream[first:],
            stream[:first] + flipped + stream[first + 1 :],
        ):
            account = asked(30)
            account.receive(planted, 1.0)
            assert not account.intact, (first, last)


def test_answers_that_never_come_and_a_broken_connection_are_no_success() -> None:
    account = asked(2)
    account.receive(answers(1)[0], 1.0)
    account.close(9.0)
    assert not account.intact
    assert account.blackout_s == 8.0
    account = asked(1)
    account.receive(answers(1)[0], 1.0)
    account.close(1.0, "reset")
    assert not account.intact


def test_a_blackout_is_the_longest_time_in_which_an_answer_was_due() -> None:
    account, lines = ChainAccount(), answers(3)
    account.ask(b"request 1", 10.0)
    account.receive(lines[0], 10.2)
    account.ask(b"request 2", 100.0)  # nothing was due since
    account.ask(b"request 3", 100.3)
    account.receive(lines[1], 100.5)
    account.receive(lines[2], 100.9)
    account.close(200.0)
    assert account.blackout_s == pytest.approx(0.5)
    assert account.latencies_s == pytest.approx([0.2, 0.5, 0.6])
    assert account.intact


def test_a_blackout_that_goes_on_is_not_forgotten() -> None:
    account, lines = ChainAccount(), answers(2)
    account.ask(b"request 1", 10.0)
    account.receive(lines[0], 15.0)
    account.ask(b"request 2", 20.0)
    account.forget_blackouts()
    assert account.blackout_s == 0.0
    account.receive(lines[1], 22.0)
    assert account.blackout_s == 2.0
