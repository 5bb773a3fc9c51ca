"""The ledger on a real KVM with a console written from the specification: protocol, chain, and lost pages."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from ftd.drill.chain import LAG, Chain
from tests.kvm.guests.harness import Machine, machine

DATA = 0x400000
PAGE = 4096


class Ledger:
    """The guest behind its console, and the chain that it must follow."""

    def __init__(self, it: Machine) -> None:
        self.machine = it
        self.chain = Chain()

    def say(self, data: bytes, answers: int) -> list[str]:
        """Sends bytes and returns the next `answers` lines."""
        console = self.machine.console
        console.output.clear()
        console.feed(data)
        self.machine.run(lambda: console.output.count(b"\n") >= answers)
        return console.output.decode().splitlines()

    def append(self, count: int) -> None:
        """Chains requests and checks every answer."""
        first = self.chain.last + 1
        lines = b"".join(b"R %d payload %d\n" % (number, number) for number in range(first, first + count))
        hashes = [self.chain.append(b"payload %d" % number) for number in range(first, first + count)]
        assert self.say(lines, count) == [f"A {first + i} {value:016x}" for i, value in enumerate(hashes)]

    def answer_to_next(self) -> tuple[str, str]:
        """What the guest answers to the next request, and what it should have."""
        number = self.chain.last + 1
        right = f"A {number} {self.chain.append(b''):016x}"
        return self.say(b"R %d \n" % number, 1)[0], right

    def introduction(self) -> str:
        return f"L {self.chain.last} {self.chain.hash_of(self.chain.last):016x}"


@contextmanager
def ledger(images: Path, *args: int) -> Iterator[Ledger]:
    with machine(images / "ledger.bin", list(args)) as it:
        it.run(lambda: it.serial.endswith(b"\n"))
        assert it.serial == b"ledger ready\n"
        yield Ledger(it)


def test_answers_follow_the_chain_far_beyond_the_lag(images: Path) -> None:
    with ledger(images) as it:
        assert it.say(b"\n?\n", 1) == [it.introduction()]
        for _ in range(10):
            it.append(LAG)
        assert it.say(b"?\n", 1) == [it.introduction()]
        assert it.machine.counter(1) == 10 * LAG


def test_records_are_kept_until_they_are_overwritten(images: Path) -> None:
    with ledger(images, 1) as it:  # one page: 256 records
        it.append(300)
        repeated, gone = it.say(b"R 300 payload 300\nR 44 payload 44\n", 2)
        assert repeated == f"D 300 {it.chain.hash_of(300):016x}"
        assert gone == "G 44"


def test_a_request_too_early_is_answered_with_the_expected_number(images: Path) -> None:
    with ledger(images) as it:
        assert it.say(b"R 2 x\n", 1) == ["E 1"]
        it.append(3)
        assert it.say(b"R 99 x\n", 1) == ["E 4"]


@pytest.mark.parametrize(
    "noise",
    [
        b"\n\n",
        b"R\nR \nR 1\nR 1x\nR x y\nR 0 zero\nR -1 y\n r 1 y\n",
        b"R 99999999999999999999 y\n",
        b"R 18446744073709551617 y\n",  # 1 after wrapping round
        b"R 1 \x01\nR 1 \xff\n",
        b"R 1 " + b"x" * 201 + b"\n",
        b"x" * 5000 + b"\n",
        b"??\n",
    ],
)
def test_malformed_lines_are_ignored(images: Path, noise: bytes) -> None:
    with ledger(images) as it:
        assert it.say(noise + b"?\n", 1) == ["L 0 0000000000000000"]
        it.append(2)


def test_longest_payload_is_chained(images: Path) -> None:
    with ledger(images) as it:
        payload = b"~" * 200
        assert it.say(b"R 1 " + payload + b"\n", 1) == [f"A 1 {it.chain.append(payload):016x}"]


def test_lines_may_come_in_any_pieces(images: Path) -> None:
    with ledger(images) as it:
        it.machine.console.chunk_bytes = 1
        it.append(20)


def test_notifications_are_batched(images: Path) -> None:
    with ledger(images) as it:
        before = it.machine.console.notifications
        it.append(200)
        assert it.machine.console.notifications - before < 100


def test_two_ledgers_of_the_same_requests_agree_whatever_their_pages(images: Path) -> None:
    for args in [(1, 0), (37, 2), (64, 3), (100, 8)]:
        with ledger(images, *args) as it:
            it.append(100)


@pytest.mark.parametrize("pages", [5, 64])
@pytest.mark.parametrize("back", [0, LAG - 1])
def test_a_lost_record_page_breaks_the_chain(images: Path, pages: int, back: int) -> None:
    with ledger(images, pages) as it:
        it.append(2 * LAG)
        address = DATA + (it.chain.last - back) * 37 % pages * PAGE
        it.machine.memory[address : address + PAGE] = bytes(PAGE)
        answered, right = it.answer_to_next()
        assert answered != right


def test_any_lost_record_page_breaks_the_chain_within_the_lag(images: Path) -> None:
    for page in range(16):
        with ledger(images, 16) as it:
            it.append(2 * LAG)
            address = DATA + page * PAGE
            it.machine.memory[address : address + PAGE] = bytes(PAGE)
            answers = [it.answer_to_next() for _ in range(LAG)]
            assert any(answered != right for answered, right in answers)


def test_a_scratch_page_that_goes_back_in_time_breaks_the_chain(images: Path) -> None:
    with ledger(images, 64, 3) as it:
        it.append(8)
        address = DATA + 64 * PAGE  # request 9 writes the first three scratch pages, as 5 did
        assert it.machine.word(address) == 5
        it.machine.put_word(address, 1)
        answered, right = it.answer_to_next()
        assert answered != right


def test_progress_is_visible(images: Path) -> None:
    with ledger(images) as it:
        before = it.machine.counter(0)
        it.machine.run(lambda: it.machine.counter(0) > before + 1000)


@pytest.mark.parametrize("args", [(1 << 40,), (64, 1 << 40), (64, 1 << 63)])
def test_pages_that_do_not_fit_are_refused(images: Path, args: tuple[int, ...]) -> None:
    with machine(images / "ledger.bin", list(args)) as it:
        it.run(lambda: it.serial.endswith(b"\n"))
        assert it.serial == b"ledger: its pages do not fit in memory\n"


@pytest.mark.parametrize("fault", [{"device_id": 2}, {"offers_version_1": False}])
def test_an_unusable_console_is_reported(images: Path, fault: dict[str, int]) -> None:
    with machine(images / "ledger.bin", []) as it:
        for name, value in fault.items():
            setattr(it.console, name, value)
        it.run(lambda: it.serial.endswith(b"\n"))
        assert it.serial == b"ledger: no usable console\n"
