"""The rows about power losses: damage in a single kill must miss the target."""

from dataclasses import replace
from typing import Any, cast

import pytest

from bench.lab.__main__ import not_measured
from bench.lab.kills import Kill
from bench.lab.lab import Lab
from bench.lab.qemu import _state
from bench.lab.rows import ROWS
from bench.lab.scene import Scene
from bench.lab.vm import Protection
from bench.report import all_met
from lab.outside.chain_account import ChainAccount
from lab.outside.write_book import WriteBook, value_of


def report(*, missing: bool = False) -> dict[str, Any]:
    book = WriteBook()
    for _ in range(10):
        book.acknowledge(book.ask())
    for number in range(1, 11):
        book.look(number, None if missing and number == 4 else value_of(number))
    return book.report()


def chain(**planted: Any) -> dict[str, Any]:
    return ChainAccount().report() | planted


SOUND = Kill("alpha", chain(), 300.0, 250.0, report(), report(), 0, True, [])


class StandIn:
    """As much of a scene as rows about kills look at."""

    protection = Protection()


async def passed(name: str, *kills: Kill) -> list[bool]:
    """Of the rows that have a target."""
    lab = Lab(cast(Scene, StandIn()), len(kills), True, _kills=list(kills))
    return [row.passed for row in await ROWS[name](lab) if row.passed is not None]


@pytest.mark.parametrize("name", ["tcp-loss", "blackout", "database", "file-system", "clocks"])
async def test_sound_kills_meet_every_target(name: str) -> None:
    assert all(await passed(name, SOUND, SOUND))


@pytest.mark.parametrize(
    ("name", "planted"),
    [
        ("tcp-loss", replace(SOUND, chain=chain(lost_bytes=1))),
        ("tcp-loss", replace(SOUND, chain=chain(repeated_bytes=1))),
        ("tcp-loss", replace(SOUND, chain=chain(wrong_bytes=1))),
        ("tcp-loss", replace(SOUND, chain=chain(intact=False, broken="reset"))),
        ("blackout", replace(SOUND, blackout_ms=1001.0)),
        ("database", replace(SOUND, database=report(missing=True))),
        ("database", replace(SOUND, database_from_disk=report(missing=True))),
        ("database", replace(SOUND, database=report() | {"verified": 9})),
        ("file-system", replace(SOUND, file_system_clean=False)),
        ("clocks", replace(SOUND, complaints=["clockwatch: CLOCK_MONOTONIC stepped back by 5 ns"])),
    ],
)
async def test_damage_in_one_kill_of_many_misses_a_target(name: str, planted: Kill) -> None:
    assert False in await passed(name, SOUND, SOUND, planted, SOUND)


def test_a_row_that_was_not_measured_meets_no_target() -> None:
    assert not all_met([not_measured("disk", "the guest did not boot")])


def test_the_state_of_a_migration_is_read() -> None:
    assert _state("(qemu) info migrate\r\nglobals:\r\nMigration status: completed\r\n") == "completed"
    assert _state("Status: \t\tactive\r\n") == "active"
    assert _state("") == ""
