"""What every arbiter answers, whatever keeps its records."""

from __future__ import annotations

import time
from typing import NoReturn

import pytest
import trio

from ftd.arbiter.contract import NOBODY, Arbiter, ArbiterUnreachable, Lost, Record, Won

VM = "4f4c1f3a-1f7d-4d0e-9d57-6f2f0d3c9a10"
ALPHA_CLAIM = b"alpha claims it."
BETA_CLAIM = b"beta claims it.."
RACES = 50


async def test_first_claim_of_a_vm_that_never_ran(both: Arbiter) -> None:
    assert await both.read(VM) is None
    won = await both.claim(VM, 0, "alpha", ALPHA_CLAIM)
    assert won == Won(Record(VM, 1, "alpha", ALPHA_CLAIM))
    assert await both.read(VM) == won.record


async def test_second_claim_of_a_generation_loses_and_learns_to_whom(both: Arbiter) -> None:
    await both.claim(VM, 0, "alpha", ALPHA_CLAIM)
    assert await both.claim(VM, 0, "beta", BETA_CLAIM) == Lost(Record(VM, 1, "alpha", ALPHA_CLAIM))


async def test_claim_that_won_says_so_again_until_its_generation_ends(both: Arbiter) -> None:
    first = await both.claim(VM, 0, "alpha", ALPHA_CLAIM)
    assert await both.claim(VM, 0, "alpha", ALPHA_CLAIM) == first
    await both.claim(VM, 1, "beta", BETA_CLAIM)
    assert isinstance(await both.claim(VM, 0, "alpha", ALPHA_CLAIM), Lost)


async def test_claim_id_used_for_another_generation_is_no_answer(both: Arbiter) -> None:
    await both.claim(VM, 0, "alpha", ALPHA_CLAIM)
    with pytest.raises(ArbiterUnreachable, match="another generation or holder"):
        await both.claim(VM, 1, "alpha", ALPHA_CLAIM)


async def test_record_that_is_behind_what_was_held_is_no_answer(both: Arbiter) -> None:
    """As after a backup was put back, or with another folder or prefix than the other host's."""
    with pytest.raises(ArbiterUnreachable, match=r"says generation 0, but 1 was held; restore it, or"):
        await both.claim(VM, 1, "beta", BETA_CLAIM)
    await both.claim(VM, 0, "alpha", ALPHA_CLAIM)
    with pytest.raises(ArbiterUnreachable, match="says generation 1, but 5 was held"):
        await both.claim(VM, 5, "beta", BETA_CLAIM)
    assert await both.read(VM) == Record(VM, 1, "alpha", ALPHA_CLAIM)


async def test_vms_do_not_share_generations(both: Arbiter) -> None:
    other = "00000000-0000-0000-0000-000000000001"
    await both.claim(VM, 0, "alpha", ALPHA_CLAIM)
    assert isinstance(await both.claim(other, 0, "beta", BETA_CLAIM), Won)


async def test_release_leaves_the_generation_to_nobody_and_any_host_goes_on_from_it(both: Arbiter) -> None:
    await both.claim(VM, 0, "alpha", ALPHA_CLAIM)
    assert not await both.release(VM, 1, "beta")
    assert not await both.release(VM, 2, "alpha")
    assert await both.release(VM, 1, "alpha")
    assert await both.release(VM, 1, "alpha"), "done twice is done"
    assert await both.read(VM) == Record(VM, 1, NOBODY, b"")
    assert isinstance(await both.claim(VM, 1, "beta", BETA_CLAIM), Won)
    assert not await both.release(VM, 1, "alpha")


@pytest.mark.parametrize(
    ("vm_id", "expected", "holder", "claim_id"),
    [
        ("../../etc/passwd", 0, "alpha", ALPHA_CLAIM),
        (VM, -1, "alpha", ALPHA_CLAIM),
        (VM, 0, NOBODY, ALPHA_CLAIM),
        (VM, 0, "alpha", b"short"),
    ],
)
async def test_nonsense_is_a_fault_of_the_caller(
    both: Arbiter, vm_id: str, expected: int, holder: str, claim_id: bytes
) -> None:
    with pytest.raises(ValueError, match=r"UUID|claim"):
        await both.claim(vm_id, expected, holder, claim_id)


async def test_of_two_claims_at_once_exactly_one_wins(both: Arbiter) -> None:
    for generation in range(1, RACES + 1):
        answers: dict[str, Won | Lost] = {}

        async def claim(holder: str, expected: int, answers: dict[str, Won | Lost] = answers) -> None:
            claim_id = f"{holder}:{expected}".encode().ljust(16, b".")
            answers[holder] = await both.claim(VM, expected, holder, claim_id)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(claim, "alpha", generation - 1)
            nursery.start_soon(claim, "beta", generation - 1)
        (winner,) = [holder for holder, answer in answers.items() if isinstance(answer, Won)]
        assert {answer.record for answer in answers.values()} == {await both.read(VM)}
        assert answers[winner].record.generation == generation


async def test_the_time_of_day_does_not_matter(both: Arbiter, monkeypatch: pytest.MonkeyPatch) -> None:
    def asked() -> NoReturn:
        raise AssertionError("it asked for the time of day")

    monkeypatch.setattr(time, "time", asked)
    monkeypatch.setattr(time, "time_ns", asked)
    assert isinstance(await both.claim(VM, 0, "alpha", ALPHA_CLAIM), Won)
    assert isinstance(await both.claim(VM, 0, "beta", BETA_CLAIM), Lost)
    assert await both.release(VM, 1, "alpha")
