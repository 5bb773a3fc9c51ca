"""Looks at both copies all the time: samples of what they say, and their histories on one time scale."""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Final

import trio

from ftd.drill.probe import now_s
from ftd.drill.scene import Scene
from ftd.errors import ControlError
from ftd.protocol.control import WORKER_STATUS, Nothing, StateChange, WorkerStatus
from ftd.protocol.control_drill import DRILL_THERE, CopyView, DrillPeerParams
from ftd.transport.client import call_unix
from ftd.transport.framing import TransportError

INTERVAL_S: Final = 0.1
WORKER_DEADLINE_S: Final = 0.5
PEER_DEADLINE_S: Final = 3.0
"""A host that has lost its power does not say so: what it said last holds no longer than this."""
# States in which a copy has the guest and runs it, or may run it on without asking anybody.
RUNS: Final = frozenset({"idle", "syncing", "protected", "simplex", "leaving"})


@dataclass(frozen=True, slots=True)
class Seen:
    """One answer."""

    host: str
    status: WorkerStatus


@dataclass
class Clock:
    """How far the peer's CLOCK_BOOTTIME is ahead of ours: by the quickest exchange so far."""

    offset_s: float = 0.0
    uncertainty_s: float = float("inf")

    def learn(self, asked_s: float, answered_s: float, theirs_s: float) -> None:
        """The peer read its clock somewhen between these two moments of ours."""
        uncertainty_s = (answered_s - asked_s) / 2
        if uncertainty_s < self.uncertainty_s:
            self.uncertainty_s = uncertainty_s
            self.offset_s = theirs_s - (asked_s + answered_s) / 2


@dataclass
class Watch:
    """Runs beside a drill. `latest` has the newest; None for a host that has no worker, or gave no answer."""

    scene: Scene
    seen: list[Seen] = field(default_factory=list)
    latest: dict[str, WorkerStatus | None] = field(default_factory=dict)
    clock: Clock = field(default_factory=Clock)
    peer_answers: bool = False
    """The other host's ftd does, whether or not it has a worker."""
    _news: trio.Event = field(default_factory=trio.Event)
    _histories: dict[str, dict[int, StateChange]] = field(default_factory=dict)

    async def run(self) -> None:
        """Until cancelled."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._watch_here)
            nursery.start_soon(self._watch_there)

    async def until(self, condition: Callable[[], bool]) -> None:
        """Waits until what was seen meets a condition, which is judged after each answer."""
        while not condition():
            await self._news.wait()

    def runners(self) -> list[str]:
        """Hosts that run the guest, by their newest answers."""
        return sorted(
            host
            for host, status in self.latest.items()
            if status is not None and status.role == "active" and status.state in RUNS
        )

    def changes(self) -> list[tuple[float, str, StateChange]]:
        """Time on this host's CLOCK_BOOTTIME in seconds, host and entry; oldest first."""
        found = []
        for host, history in self._histories.items():
            found += [(self.here_s(host, entry.boottime_ns), host, entry) for entry in history.values()]
        return sorted(found, key=lambda change: change[0])

    def here_s(self, host: str, boottime_ns: int) -> float:
        """A host's CLOCK_BOOTTIME on that of this host, in seconds, as well as it is known by now."""
        offset_s = self.clock.offset_s if host == self.scene.view.peer else 0.0
        return boottime_ns / 1e9 - offset_s

    async def _watch_here(self) -> None:
        host = self.scene.view.host
        while True:
            status = None
            with suppress(ControlError, TransportError):
                status = await call_unix(
                    self.scene.worker_socket, WORKER_STATUS, Nothing(), deadline_s=WORKER_DEADLINE_S
                )
            self._note(host, status)
            await trio.sleep(INTERVAL_S)

    async def _watch_there(self) -> None:
        while True:
            asked_s, view = now_s(), await self._ask_there()
            self.peer_answers = view is not None
            if view is not None:
                self.clock.learn(asked_s, now_s(), view.boottime_ns / 1e9)
            self._note(self.scene.view.peer, view.status if view else None)
            await trio.sleep(INTERVAL_S)

    async def _ask_there(self) -> CopyView | None:
        params = DrillPeerParams(vm=self.scene.vm, peer=self.scene.view.peer)
        with suppress(ControlError), trio.move_on_after(PEER_DEADLINE_S):
            return await self.scene.call(DRILL_THERE, params)
        return None

    def _note(self, host: str, status: WorkerStatus | None) -> None:
        self.latest[host] = status
        news, self._news = self._news, trio.Event()
        news.set()
        if status is not None:
            self.seen.append(Seen(host, status))
            history = self._histories.setdefault(host, {})
            history.update((entry.boottime_ns, entry) for entry in status.history)
