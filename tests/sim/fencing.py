"""Two hosts without an arbiter: the production's `fencing/arbiter` over a simulated power switch.

The switch takes its time, fails now and then, and sometimes says that it did what it did not. A host that was
turned off comes back, empty, when somebody turns it on.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from ftd.arbiter.contract import Record
from ftd.arbiter.fencing.agent import FenceFailed
from ftd.protocol.control import FenceSpec, FencingSpec
from tests.sim import production
from tests.sim import trio_stand_in as trio
from tests.sim.clockwork import MS
from tests.sim.process import Host

if TYPE_CHECKING:
    from tests.sim.world import World

DELAY_S = 2
"""Of one of the two, longer than the switch takes: a duel has a winner."""
_FAILS, _LIES = 0.15, 0.1


class Proof:
    """In the place of the file: kept in the host's memory, which no worker outlives."""

    def __init__(self, fencing: Fencing, peer: str) -> None:
        del peer
        self._fencing = fencing

    def is_newer_than(self, since_ns: int) -> bool:
        return self._fencing.proved_ns >= since_ns

    def write(self, at_ns: int) -> None:
        self._fencing.proved_ns = at_ns

    @contextlib.contextmanager
    def taken(self) -> Iterator[bool]:
        yield True


class Fencing:
    """What one host has against the other."""

    def __init__(self, world: World, host: Host) -> None:
        self.world = world
        self.host = host
        self.proved_ns = -1
        # The second of the two waits.
        delay_s = DELAY_S if host is world.hosts[1] else 0
        peer = world.other(host).name
        device = FenceSpec(host=peer, command="switch", options=[], delay_s=delay_s, timeout_s=60)
        self._spec = FencingSpec(peer=peer, device=device)

    def arbiter(self) -> Any:
        """For one worker of this host."""
        return _Arbiter(self, self._spec)

    def now_ns(self) -> int:
        """As this host's clock has it."""
        return self.host.boottime_us() * 1000

    async def turn_off(self) -> int:
        """As `agent.turn_off`: off, then status."""
        world, random = self.world, self.world.clockwork.random
        target = world.other(self.host)
        await trio.sleep(random.randrange(50, 600) / 1000)
        if not world.healed and random.random() < _FAILS:
            raise FenceFailed("the switch does not answer")
        lies = not world.healed and random.random() < _LIES
        if not lies and target.up:
            world.timeline.note(self.host.name, "turns {} off", target.name)
            world.lose_power(target)
            world.clockwork.after(random.randrange(300, 3000) * MS, lambda: world.power_on(target))
        asked_ns = self.now_ns()
        if lies and target.up:
            raise FenceFailed("it is still on")
        return asked_ns


class _Arbiter(production.fencing.FencingArbiter):  # type: ignore[misc,name-defined]
    """Records in the world's memory instead of files."""

    def __init__(self, fencing: Fencing, spec: FencingSpec) -> None:
        super().__init__(fencing, spec)
        self._fencing = fencing

    def _record(self, wanted: Record) -> None:
        self._fencing.world.proved = wanted

    async def release(self, vm_id: str, generation: int, holder: str) -> bool:
        """The guest has ended; there is no store that would remember it."""
        del vm_id, generation, holder
        return True


def install() -> None:
    """Puts the models in the place of agent, clock and file."""
    module = production.fencing
    module.Proof = Proof
    module.LocalArbiter = lambda directory: None
    module.turn_off = lambda spec: _of_current().turn_off()
    module.now_ns = lambda: _of_current().now_ns()


def _of_current() -> Fencing:
    found = trio.current_process().fencing
    assert found is not None
    return found


install()
