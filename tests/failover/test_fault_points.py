"""A worker dies at each named step, and the outcome is the one that this table says.

Promises 1 to 3: whatever a copy was doing, at most one runs the guest afterwards; none does only where the
VM was not protected yet or any more, or where its new owner is the one that died; what was answered stays.
"""

import json
import os
import random
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

import pytest

from ftd.drill.local_pair import LocalHost
from ftd.errors import ControlError
from ftd.protocol.control import VmParams
from ftd.protocol.control_operator import FAILOVER, LEAVE, SWITCHOVER, VM_START, ForceParams
from ftd.transport.framing import TransportError
from ftd.worker.faults import all_points
from tests.failover.scene import ALONE, Scene, eventually, playing
from tests.failover.test_disk import POINTS as DISK_POINTS

# Sides: alpha's worker is the primary, beta's the standby.
PRIMARY: Final = "alpha"
STANDBY: Final = "beta"
NOBODY: Final = "nobody"
PASSAGE_VARIABLE: Final = "FTD_TEST_PASSAGE"


# ---- what drives a worker through a point ----


async def enter(scene: Scene) -> None:
    await scene.pair.enter()


async def enter_again(scene: Scene) -> None:
    """After an earlier protection, of which the worker may remember too much."""
    await scene.pair.enter()


async def run(scene: Scene) -> None:
    """Epochs and output pass by themselves."""


async def leave(scene: Scene) -> None:
    await scene.alpha.call(LEAVE, VmParams(vm=scene.vm))


async def switchover(scene: Scene) -> None:
    await scene.alpha.call(SWITCHOVER, VmParams(vm=scene.vm))


async def take_over(scene: Scene) -> None:
    """An operator wants the guest on the standby's host, while the primary lives."""
    await scene.beta.call(FAILOVER, ForceParams(vm=scene.vm))


async def lose_standby(scene: Scene) -> None:
    await scene.kill_worker(scene.beta)


async def lose_primary(scene: Scene) -> None:
    await scene.kill_worker(scene.alpha)


@dataclass(frozen=True)
class Row:
    """`side` dies at `point` during `operation`; then one of `survivors` has the guest."""

    point: str
    side: str
    operation: Callable[[Scene], Awaitable[None]]
    survivors: tuple[str, ...]
    why: str = ""

    @property
    def name(self) -> str:
        return f"{self.point}-{self.operation.__name__}"


def _each(points: str, side: str, operation: Callable[[Scene], Awaitable[None]], survivor: str) -> list[Row]:
    return [Row(point, side, operation, (survivor,)) for point in points.split()]


SEAL: Final = "seal.before-harvest seal.before-copy seal.before-rearm seal.before-queue"
ENTER: Final = "enter.connected enter.before-sync enter.in-sync enter.first-sealed"
STAGE: Final = "stage.header stage.complete ack.before-send ack.after-send commit.half commit.after"
TABLE: Final = [
    # Until epoch 1 has left, an enter that dies is the death of an unprotected guest.
    *_each(ENTER, PRIMARY, enter, NOBODY),
    *_each("send.before send.half", PRIMARY, enter, NOBODY),
    # A whole epoch is never lost, whatever happens to its sender.
    *_each("send.after ack.received", PRIMARY, enter, STANDBY),
    *_each("send.after", PRIMARY, enter_again, STANDBY),
    *_each(f"{SEAL} send.before send.half send.after ack.received ack.released", PRIMARY, run, STANDBY),
    *_each(STAGE, STANDBY, run, PRIMARY),
    *_each("leave.before-send", PRIMARY, leave, STANDBY),
    Row("leave.after-send", PRIMARY, leave, (STANDBY, NOBODY), "LEAVE and the end of the connection race"),
    *_each("leave.received", STANDBY, leave, PRIMARY),
    *_each("leave.acked", PRIMARY, leave, NOBODY),
    *_each("switchover.drained switchover.before-send", PRIMARY, switchover, STANDBY),
    *_each("switchover.after-send switchover.done", PRIMARY, switchover, STANDBY),
    *_each("switchover.received claim.before", STANDBY, switchover, PRIMARY),
    # It owned the guest and may have shown what the guest did since: the old copy may not go on.
    *_each("claim.won activate.running switchover.before-done", STANDBY, switchover, NOBODY),
    *_each("claim.before", STANDBY, take_over, PRIMARY),
    *_each("claim.won activate.before-restore activate.before-run", STANDBY, take_over, NOBODY),
    # Two deaths.
    *_each("claim.before", STANDBY, lose_primary, NOBODY),
    *_each("simplex.before-resume", PRIMARY, lose_standby, NOBODY),
]


# Passed again and again while the guest runs: there the first passage is one of many.
AGAIN_AND_AGAIN: Final = [row for row in TABLE if row.operation is run]
LATER: Final = AGAIN_AND_AGAIN[1::2]
PASSAGES_MAX: Final = 200
KILLS_MIN: Final = 50
LONG_ROUNDS: Final = 12
LONG_KILLS_MIN: Final = 500


def test_every_point_has_a_row() -> None:
    """Promise 8: a new point needs a decision on what its death may do."""
    assert {row.point for row in TABLE} | DISK_POINTS == set(all_points())


def test_there_are_as_many_kills_as_promised() -> None:
    assert len(TABLE) + len(LATER) >= KILLS_MIN
    assert LONG_ROUNDS * len(TABLE) >= LONG_KILLS_MIN


@pytest.mark.parametrize("row", TABLE, ids=lambda row: row.name)
async def test_a_death_at(row: Row) -> None:
    await die_at(row, nth=1)


@pytest.mark.parametrize("row", LATER, ids=lambda row: row.name)
async def test_a_death_at_a_later_passage(row: Row) -> None:
    await die_at(row, nth=any_passage(row))


@pytest.mark.long
@pytest.mark.parametrize("round_number", range(LONG_ROUNDS))
@pytest.mark.parametrize("row", TABLE, ids=lambda row: row.name)
async def test_a_death_at_every_point_again(row: Row, round_number: int) -> None:
    print(f"round {round_number}")
    await die_at(row, nth=any_passage(row))


def any_passage(row: Row) -> int:
    """Each in another state of the pair. The number is printed: FTD_TEST_PASSAGE repeats it."""
    if row not in AGAIN_AND_AGAIN:
        return 1
    nth = int(os.environ.get(PASSAGE_VARIABLE) or random.SystemRandom().randint(2, PASSAGES_MAX))
    print(f"{PASSAGE_VARIABLE}={nth}")
    return nth


async def die_at(row: Row, *, nth: int) -> None:
    """One worker dies, and the outcome is the row's."""
    async with playing(protected=row.operation is not enter) as scene:
        victim = scene.alpha if row.side == PRIMARY else scene.beta
        scene.begin_asking()
        await scene.more_answers(30)
        if row.operation is enter_again:
            await leave(scene)
            await scene.more_answers(30)
        with suppress(TransportError):  # it may have died before it could answer
            await victim.arm_fault(scene.vm, row.point, nth)
        try:
            await row.operation(scene)
        except ControlError as error:
            print(f"{row.operation.__name__}: {error}")  # most end so: their worker died
        await eventually(f"the death of {victim.name}'s worker", lambda: killed(victim))
        await eventually("an outcome", lambda: settled(scene, victim))
        found = (await scene.runners() or [NOBODY])[0]
        assert found in row.survivors
        if found == NOBODY:
            await start_anew(scene)
        else:
            await go_on(
                scene, scene.alpha if found == PRIMARY else scene.beta, again=row.operation is not run
            )


async def killed(host: LocalHost) -> bool:
    """By a signal: not ended by itself."""
    entries = [json.loads(line) for line in host.log.read_text().splitlines()]
    return any(entry["event"] == "worker gone" and "SIGKILL" in entry["how"] for entry in entries)


async def settled(scene: Scene, victim: LocalHost) -> bool:
    """The other worker runs the guest alone, or has ended."""
    status = await scene.pair.peer_of(victim).status(scene.vm)
    return status is None or status.state in ALONE


async def go_on(scene: Scene, host: LocalHost, *, again: bool) -> None:
    """Nothing was lost; and no remains of the operation are in the way of doing it `again`."""
    await scene.more_answers(30)
    if again:
        await scene.protect(host)
        await scene.more_answers(30)
    await scene.settle(host)


async def start_anew(scene: Scene) -> None:
    """The guest is dead, and no copy comes back. An operator starts another, in a generation of its own."""
    assert not scene.client.book.breaches
    asked = scene.client.book.asked
    await scene.alpha.call(VM_START, ForceParams(vm=scene.vm, force=True))
    assert await scene.runners() == [PRIMARY]
    assert (await scene.status(scene.alpha)).generation > 1
    assert asked > 0
