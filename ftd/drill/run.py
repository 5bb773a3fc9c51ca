"""One drill: observe, strike, wait for the outcome, undo, wait until the guest is protected again."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

import trio

from ftd.drill.catalogue import Fault
from ftd.drill.lock import DrillLock, Undo
from ftd.drill.probe import Probe, now_s
from ftd.drill.scene import Scene
from ftd.drill.strikes import Strike
from ftd.drill.watch import Watch
from ftd.errors import ControlError
from ftd.protocol.control import Nothing
from ftd.protocol.control_drill import DRILL_PROTECT, DrillPeerParams
from ftd.protocol.control_operator import VERSION

BEFORE_S: Final = 3.0
AFTER_S: Final = 2.0
# On top of the heartbeat timeout: an election of etcd's members, and a busy host.
OUTCOME_S: Final = 30.0
REPROTECT_GRACE_S: Final = 5.0
DAEMON_POLL_S: Final = 0.02


@dataclass(frozen=True, slots=True)
class Limits:
    """What the verdict is held against, and how long a fault without an end of its own lasts."""

    blackout_max_ms: int
    protect_within_s: float
    hold_s: float


class DrillFailed(Exception):
    """The drill came to no good end; the message says what did not happen. The record tells it."""


@dataclass
class Story:
    """When what happened, in seconds of CLOCK_BOOTTIME; None: it did not."""

    generation_before: int
    began_s: float = field(default_factory=now_s)
    began_realtime_ns: int = field(default_factory=time.time_ns)
    struck_s: float | None = None
    outcome_s: float | None = None
    undone_s: float | None = None
    protected_s: float | None = None
    asked_until_s: float | None = None
    """When the observer stopped asking."""
    ended_s: float = 0.0
    asked_to_protect: bool = False
    survivor: str | None = None
    """The host that runs the guest after the fault."""
    generation_after: int | None = None
    active_at_end: list[str] = field(default_factory=list)
    steps: list[tuple[float, str]] = field(default_factory=list)
    problem: str = ""


class Drill:
    """Runs once. Whatever ends it, what it did to the host is undone when `run` returns or raises."""

    def __init__(
        self,
        scene: Scene,
        fault: Fault,
        strike: Strike,
        probe: Probe,
        limits: Limits,
        lock: DrillLock,
        say: Callable[[str], None],
    ) -> None:
        self.watch = Watch(scene)
        self.story = Story(scene.here.generation)
        self._scene = scene
        self._fault = fault
        self._strike = strike
        self._probe = probe
        self._limits = limits
        self._lock = lock
        self._say = say

    async def run(self) -> None:
        """Fills `story`. Raises ControlError when the fault could not be inflicted, or not be undone."""
        refusals = []
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self.watch.run)
                nursery.start_soon(self._probe.run)
                await self._play()
                self.story.asked_until_s = now_s()
                await self._probe.finish()
                self.story.active_at_end = self.watch.runners()
                nursery.cancel_scope.cancel()
        except* ControlError as group:
            refusals.append(_first(group))  # raised from here it would be in a group again
        for refusal in refusals:
            raise refusal
        self.story.ended_s = now_s()

    async def _play(self) -> None:
        try:
            await self._observe()
            await self._inflict()
            await self._wait_for_outcome()
            await self._undo()
            await self._settle()
        except DrillFailed as error:
            self.story.problem = str(error)
            self._tell(f"failed: {error}")
        finally:
            with trio.CancelScope(shield=True):
                await self._undo()

    async def _observe(self) -> None:
        self._tell(f"observes {self._probe.describe}")
        await trio.sleep(BEFORE_S)
        if self._probe.tally.breaches:
            raise DrillFailed(f"a promise was broken before the fault: {self._probe.tally.breaches[0]}")

    async def _inflict(self) -> None:
        if not self._is_protected():
            raise DrillFailed("the guest was not protected any more when the fault was due; nothing was done")
        self._lock.note(self._strike.undo)
        self.story.struck_s = now_s()
        self._tell(self._strike.plan)
        await self._strike.begin()

    async def _undo(self) -> None:
        if self.story.struck_s is None or self.story.undone_s is not None:
            return
        done = await self._strike.end()
        self.story.undone_s = now_s()
        self._lock.note(Undo())
        for text in done:
            self._tell(text)

    # ---- what has to happen ----

    async def _wait_for_outcome(self) -> None:
        if self._fault.moves_generation:
            await self._before_long("nobody has taken the guest over", self._took_over)
        elif self._fault.undone_after_hold:
            await trio.sleep(self._limits.hold_s)
        else:
            await self._wait_for_daemon()
        if not self._fault.moves_generation:
            await self._before_long("the guest is not protected", self._is_protected)
        story = self.story
        story.outcome_s = now_s()
        [story.survivor] = self.watch.runners()
        status = self.watch.latest[story.survivor]
        assert status is not None, "it runs"
        story.generation_after = status.generation
        self._tell(f"{story.survivor} runs the guest, in generation {story.generation_after}")

    async def _wait_for_daemon(self) -> None:
        with trio.move_on_after(OUTCOME_S):
            while True:
                try:
                    await self._scene.call(VERSION, Nothing())
                    return
                except ControlError:
                    await trio.sleep(DAEMON_POLL_S)
        raise DrillFailed(f"ftd was not started again within {OUTCOME_S:g} s: is it supervised by systemd?")

    async def _settle(self) -> None:
        if not self._fault.moves_generation:
            self.story.protected_s = self.story.struck_s
        else:
            await self._before_long("the copy that lost has not ended", self._one_copy_is_left)
            await trio.sleep(AFTER_S)
            await self._wait_for_protection()
        await trio.sleep(AFTER_S)

    def _took_over(self) -> bool:
        statuses = [self.watch.latest[host] for host in self.watch.runners()]
        generations = [status.generation for status in statuses if status is not None]
        return len(generations) == 1 and generations[0] > self.story.generation_before

    def _one_copy_is_left(self) -> bool:
        """The loser's worker ends; a new standby of the survivor may be there already."""
        other = self.watch.latest.get(self._other(self.story.survivor))
        return other is None or other.role == "standby"

    def _is_protected(self) -> bool:
        """On one host, with a whole standby on the other."""
        runners = self.watch.runners()
        if len(runners) != 1:
            return False
        active, standby = self.watch.latest[runners[0]], self.watch.latest.get(self._other(runners[0]))
        if active is None or standby is None:
            return False
        return (active.state, standby.role, standby.state) == ("protected", "standby", "standby")

    def _is_not_alone(self) -> bool:
        status = self.watch.latest.get(self.story.survivor or "")
        return status is not None and status.state not in ("simplex", "idle")

    async def _wait_for_protection(self) -> None:
        with trio.move_on_after(self._limits.protect_within_s):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._ask_for_protection)
                await self.watch.until(self._is_protected)
                self.story.protected_s = now_s()
                self._tell("protected again")
                nursery.cancel_scope.cancel()
        if self.story.protected_s is None:
            raise DrillFailed(f"the guest was not protected again within {self._limits.protect_within_s:g} s")

    async def _ask_for_protection(self) -> None:
        """For a VM that is not protected again by itself: what an operator would do."""
        await self.watch.until(lambda: self.watch.peer_answers)  # a host that was turned on takes its time
        with trio.move_on_after(REPROTECT_GRACE_S):
            await self.watch.until(self._is_not_alone)
            return
        survivor = self.story.survivor
        assert survivor is not None, "there was an outcome"
        self.story.asked_to_protect = True
        self._tell(f"not protected by itself within {REPROTECT_GRACE_S:g} s: enters on {survivor}")
        try:
            await self._scene.call(DRILL_PROTECT, DrillPeerParams(vm=self._scene.vm, peer=survivor))
        except ControlError as error:
            self._tell(f"enter was refused: {error.message}")

    async def _before_long(self, otherwise: str, condition: Callable[[], bool]) -> None:
        deadline_s = OUTCOME_S + self._scene.view.heartbeat_timeout_ms / 1000
        with trio.move_on_after(deadline_s):
            await self.watch.until(condition)
            return
        raise DrillFailed(f"{otherwise}, {deadline_s:g} s after it should have come to that")

    def _other(self, host: str | None) -> str:
        view = self._scene.view
        return view.peer if host == view.host else view.host

    def _tell(self, text: str) -> None:
        self.story.steps.append((now_s(), text))
        self._say(text)


def _first(group: BaseExceptionGroup[ControlError]) -> ControlError:
    error = group.exceptions[0]
    return _first(error) if isinstance(error, BaseExceptionGroup) else error
