"""The toucher on a real KVM: it counts rounds, stays in its region, and finds pages that are not what they
were."""

from pathlib import Path

import pytest

from tests.kvm.guests.harness import machine

DATA = 0x400000
PAGE = 4096


def slot(page: int, region: int = DATA) -> int:
    return region + page * PAGE + page * 72 % PAGE


@pytest.mark.parametrize("vcpus", [1, 2, 4])
def test_every_vcpu_touches_its_own_region(images: Path, vcpus: int) -> None:
    with machine(images / "toucher.bin", [10, 50, 40], vcpus=vcpus) as it:
        it.run(lambda: all(it.counter(0, vcpu) >= 8 for vcpu in range(vcpus)))
        for vcpu in range(vcpus):
            rounds = it.counter(0, vcpu)
            values = {it.word(slot(page, DATA + vcpu * 40 * PAGE)) for page in range(40)}
            assert values <= set(range(rounds - 4, rounds + 2))
        after = DATA + vcpus * 40 * PAGE
        assert it.memory[after : after + PAGE] == bytes(PAGE)


def test_working_set_defaults_to_one_round(images: Path) -> None:
    with machine(images / "toucher.bin", [3]) as it:
        it.run(lambda: it.counter(0) >= 100)
        assert all(it.word(slot(page)) >= 100 for page in range(3))
        assert it.memory[DATA + 3 * PAGE : DATA + 4 * PAGE] == bytes(PAGE)


def test_start_offset_is_heeded(images: Path) -> None:
    with machine(images / "toucher.bin", [3, 0, 0, 8 << 20]) as it:
        it.run(lambda: it.counter(0) >= 1)
        assert it.word(8 << 20) >= 1
        assert it.word(DATA) == 0


def test_region_is_cut_to_memory(images: Path) -> None:
    with machine(images / "toucher.bin", [10, 0, 1 << 40]) as it:
        it.run(lambda: it.counter(0) >= 1000)
        assert it.word(slot(3071)) > 0  # the last page of 16 MiB


@pytest.mark.parametrize(("pages", "working_set"), [(10, 40), (7, 40), (10, 10), (10, 3)])
def test_verify_accepts_what_it_wrote(images: Path, pages: int, working_set: int) -> None:
    with machine(images / "toucher.bin", [pages, 10, working_set, 0, 1]) as it:
        it.run(lambda: it.counter(0) >= 200)
        assert it.counter(1) == 0


def test_verify_finds_a_page_of_another_epoch(images: Path) -> None:
    with machine(images / "toucher.bin", [10, 10, 40, 0, 1]) as it:
        it.run(lambda: it.counter(0) >= 20)
        old = it.word(slot(17))
        it.put_word(slot(17), old - 4)
        it.run(lambda: it.counter(1) == 1)
        assert it.counter(2) == slot(17)
        assert it.counter(3) == it.counter(4) + 4
        rounds = it.counter(0)
        with pytest.raises(TimeoutError):
            it.run(lambda: it.counter(0) > rounds, timeout_s=0.05)
