"""The filler on a real KVM."""

from pathlib import Path

from tests.kvm.guests.harness import machine

DATA = 0x400000
PAGE = 4096


def test_fills_with_data_then_writes_one_page(images: Path) -> None:
    with machine(images / "filler.bin", [256, 100]) as it:
        it.run(lambda: it.counter(1) == 1)
        assert it.counter(2) == 256
        words = [it.word(DATA + offset) for offset in range(8, 256 * PAGE, 8)]
        assert 0 not in words
        assert len(set(words)) == len(words)
        assert it.word(DATA + 256 * PAGE) == 0
        filled = bytes(it.memory[DATA + PAGE : DATA + 256 * PAGE])
        first, writes = it.word(DATA), it.counter(0)
        it.run(lambda: it.counter(0) >= writes + 10)
        assert it.word(DATA) != first
        assert it.memory[DATA + PAGE : DATA + 256 * PAGE] == filled


def test_fills_all_of_memory_by_default(images: Path) -> None:
    with machine(images / "filler.bin", []) as it:
        it.run(lambda: it.counter(1) == 1)
        assert it.counter(2) == (len(it.memory) - DATA) // PAGE
        assert it.word(len(it.memory) - 8) != 0
