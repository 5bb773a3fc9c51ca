"""Which copies are ended for a standby's sake, and which never."""

import pytest

from ftd.arbiter.contract import Record
from ftd.protection.stale import Asked, CopyHere, Verdict, judge, needs_record
from ftd.vm_states import ENDED_STATES

ASKED = Asked("beta", 5)
GIVEN = Record("", 5, "beta", b"")
OTHERS = (None, Record("", 5, "alpha", b""), Record("", 6, "alpha", b""), Record("", 6, "beta", b""))
ALIVE = ("idle", "simplex", "protected", "failing_over", "standby", "standby_syncing", "switching_over", None)


@pytest.mark.parametrize("state", sorted(ENDED_STATES))
def test_what_has_ended_is_cleared_away_without_asking(state: str) -> None:
    copy = CopyHere(state, 5, None)
    assert not needs_record(copy, ASKED)
    assert judge(copy, ASKED, None) is Verdict.CLEAR


@pytest.mark.parametrize("state", ALIVE)
@pytest.mark.parametrize("generation", [0, 4])
def test_an_earlier_generation_is_ended_when_the_arbiter_confirms(state: str | None, generation: int) -> None:
    copy = CopyHere(state, generation, None)
    assert needs_record(copy, ASKED)
    assert judge(copy, ASKED, GIVEN) is Verdict.END


@pytest.mark.parametrize("state", ALIVE)
@pytest.mark.parametrize("record", OTHERS)
def test_nobody_is_ended_on_the_word_of_the_host_that_asks(state: str | None, record: Record | None) -> None:
    assert judge(CopyHere(state, 4, None), ASKED, record) is Verdict.KEEP


@pytest.mark.parametrize("state", ALIVE)
@pytest.mark.parametrize("generation", [5, 6])
@pytest.mark.parametrize("record", [GIVEN, *OTHERS])
def test_the_same_generation_or_a_later_one_is_kept(
    state: str | None, generation: int, record: Record | None
) -> None:
    """It may be the holder's good standby, and the request a late one."""
    copy = CopyHere(state, generation, None)
    assert not needs_record(copy, ASKED)
    assert judge(copy, ASKED, record) is Verdict.KEEP


def test_a_standby_of_the_host_that_asks_is_replaced_while_nobody_came_to_it() -> None:
    assert judge(CopyHere("standby_syncing", 5, "beta"), ASKED, None) is Verdict.STOP
    assert judge(CopyHere("standby_syncing", 5, "gamma"), ASKED, None) is Verdict.KEEP
    assert judge(CopyHere("standby_syncing", 5, "beta", paired=True), ASKED, GIVEN) is Verdict.KEEP
