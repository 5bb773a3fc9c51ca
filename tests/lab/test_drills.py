"""Drills on two hosts that are machines: what no two daemons on one machine can show."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from lab.errors import MissingError
from lab.kernel.modules import Modules
from lab.pair import drilling
from lab.pair.member import Member
from lab.pair.pair import Pair, prepared
from tests.lab.pair_scene import END_WORKERS, eventually

pytestmark = [pytest.mark.lab, pytest.mark.timeout(900)]
# The host that runs the guest afterwards; None: either.
SURVIVORS = {"power-off": "beta", "arbiter-loss": "alpha", "freeze": "beta", "one-way": None}
LONG = {"arbiter-loss", "freeze", "one-way"}


@pytest.fixture(scope="module")
def pair(modules: Modules) -> Iterator[Pair]:
    """Both hosts, booted once."""
    try:
        with prepared(drilling.spec(modules, heartbeat_timeout_ms=3000)) as made:
            yield made
    except MissingError as error:
        pytest.skip(str(error))


@pytest.mark.parametrize(
    "fault", [pytest.param(fault, marks=pytest.mark.long) if fault in LONG else fault for fault in SURVIVORS]
)
async def test_a_drill(pair: Pair, fault: str) -> None:
    await pair.boot()
    for member in pair.members:
        await nothing_left(member)
    done = await drilling.drill(pair, fault)
    assert done.status == 0, f"{done.said}\n{await pair.logs()}"
    assert done.judged is not None
    record = done.judged["record"]
    assert record["survivor"] in ({"alpha", "beta"} if SURVIVORS[fault] is None else {SURVIVORS[fault]})
    assert record["active_at_end"] == [record["survivor"]]
    assert record["answers"]["lost"] == 0
    assert record["answers"]["answered"] > 100
    # By itself or asked by the drill: an emulated host takes longer to start a worker than a drill waits.
    assert record["protected_again_s"] is not None
    assert done.page.startswith("<!doctype html>")
    assert not [line for member in pair.members for line in member.trouble]


async def nothing_left(member: Member) -> None:
    """Of the drill before: workers end, and ftd has nothing to protect."""
    await member.run(END_WORKERS)

    async def is_so() -> bool:
        return await member.status(drilling.VM) is None

    await eventually(f"{member.name} has nothing left of the guest", is_so)
