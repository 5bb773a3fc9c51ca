"""One worker: the production's runner, copy, service, claims and arbiter around a simulated machine."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from typing import Any

from ftd.protocol.control import ArbiterSpec, GuestSpec, WorkerSpec
from ftd.replication.active import ActiveCore
from ftd.replication.standby import StandbyCore
from ftd.replication.states import ACTIVE_ASKING, ACTIVE_FINAL, STANDBY_ASKING, ActiveState, StandbyState
from ftd.worker.pair import Pair
from tests.sim import production
from tests.sim import trio_stand_in as trio
from tests.sim.disk import Disk, SimPath
from tests.sim.fencing import Fencing
from tests.sim.handshake import PairListener
from tests.sim.machine import MEMORY_PAGES, PAGE_BYTES, Machine
from tests.sim.outside import Outside
from tests.sim.process import Host, Process

VM = "ledger"
VM_ID = bytes(range(16))
ARBITER_TIMEOUT_MS = 400
FAREWELL_S = 0.2


def make_spec(host: str, role: str, *, timeout_ms: int, interval_ms: int, rate_hz: int) -> WorkerSpec:
    """What a daemon gives its worker; ``generation``, ``token`` and ``peer`` of a standby come later."""
    return WorkerSpec(
        vm=VM,
        vm_id=VM_ID,
        host=host,
        role=role,  # type: ignore[arg-type]
        generation=0,
        memory_bytes=MEMORY_PAGES * PAGE_BYTES,
        vcpus=1,
        irqchip=False,
        tracker="auto",
        guest=GuestSpec(image="", image_sha256="", args=[]),  # type: ignore[arg-type]
        console=None,
        checkpoint_rate_hz=rate_hz,
        epoch_pages_max=4,
        parts_max=4,
        epochs_in_flight=3,
        hot_pages_max=0,
        low_latency=False,
        heartbeat_interval_ms=interval_ms,
        heartbeat_timeout_ms=timeout_ms,
        connect_timeout_s=1,
        socket_path="",
        arbiter=ArbiterSpec(kind="local", directory=""),
    )


class Worker:
    """A worker process, from its start to its end."""

    def __init__(
        self,
        host: Host,
        disk: Disk,
        outside: Outside,
        spec: WorkerSpec,
        number: int,
        fail: Callable[[BaseException], None],
        fencing: Fencing | None = None,
    ) -> None:
        self.host = host
        self.spec = spec
        self.number = number
        self.label = f"{host.name}.{number}"
        self.outside = outside
        self.process = Process(host, disk, fail)
        self.machine = Machine(self.process, outside)
        self.machine.label = self.process.label = self.label
        self.machine.generation = lambda: self.generation
        self.process.fencing = fencing
        arbiter = production.local.LocalArbiter(
            SimPath(disk), answer_timeout_ms=ARBITER_TIMEOUT_MS, fault=disk.step
        )
        self._starting = production.claims.Claims(arbiter, VM, VM_ID, host.name)
        self.claims = production.claims.Claims(
            arbiter if fencing is None else fencing.arbiter(), VM, VM_ID, host.name
        )
        self.copy: Any = None
        self.runner: Any = None
        self.service: Any = None
        self._listener: PairListener | None = None

    # How it begins.

    def start_active(self) -> None:
        """As `vm start`: asks for the first generation, boots the guest."""
        trio.start(self._active(), self.process)

    async def _active(self) -> None:
        generation = await self._starting.first_generation(force=False)
        core = ActiveCore(
            vm=VM, generation=generation, new_claim_id=production.copy.new_claim_id, jitter_seed=self._seed()
        )
        if self.outside.guest_ended:
            # It would boot anew, and this run is about the guest that was.
            self.process.clockwork.after(1, self.process.end)
            return
        self._assemble(core)
        self.machine.run()
        self.outside.timeline.note(self.label, "guest starts in generation {}", generation)

    def start_standby(self) -> None:
        """As `enter` on the other host: waits for the primary."""
        core = StandbyCore(
            vm=VM,
            generation=self.spec.generation,
            peer=self.spec.peer or "",
            new_claim_id=production.copy.new_claim_id,
            jitter_seed=self._seed(),
        )
        self._assemble(core)
        self._listener = PairListener(self.process, self.spec, self.number, self._primary_came)
        trio.start(self._await_primary(), self.process)

    def _seed(self) -> int:
        return zlib.crc32(self.host.name.encode())

    def _assemble(self, core: ActiveCore | StandbyCore) -> None:
        self.copy = production.copy.VmCopy(self.spec, self.machine, core, self.claims)
        self.runner = production.runner.Runner(self.copy)
        self.service = production.service.Service(self.copy, self.runner)
        trio.start(self._live(), self.process)

    async def _live(self) -> None:
        trio.start(self._run(), self.process)
        await self.copy.ended.wait()
        await trio.sleep(FAREWELL_S)
        self.process.clockwork.after(1, self.process.end)

    async def _run(self) -> None:
        await self.runner.run()

    async def _await_primary(self) -> None:
        await trio.sleep(self.spec.connect_timeout_s)
        if self.machine.standby is None:
            self.copy.reason = "no primary came"
            self.copy.ended.set()
        if self._listener is not None:
            self._listener.close()

    def _primary_came(self, pair: Pair) -> None:
        if not self.copy.ended.is_set():
            self.copy.begin_standby(pair)

    # What others see of it.

    @property
    def lives(self) -> bool:
        """It has not ended, nor decided to."""
        return self.process.alive and self.copy is not None and not self.copy.ended.is_set()

    @property
    def answers(self) -> bool:
        """Its control socket does."""
        return self.lives and self.process.answers

    @property
    def is_active(self) -> bool:
        """It has the guest, or had it."""
        return self.lives and isinstance(self.copy.core.state, ActiveState)

    @property
    def is_standby(self) -> bool:
        """It holds a whole copy and waits."""
        return self.lives and self.copy.core.state is StandbyState.STANDBY

    @property
    def asks(self) -> bool:
        """It waits for the arbiter's word."""
        return self.lives and self.copy.core.state in ACTIVE_ASKING | STANDBY_ASKING

    @property
    def should_have_ended(self) -> bool:
        """Its part is over, and its process is not."""
        finals = ACTIVE_FINAL | {StandbyState.DISCARDED}
        return self.process.alive and self.copy is not None and self.copy.core.state in finals

    @property
    def runs_guest(self) -> bool:
        """The guest executes here."""
        return self.lives and self.machine.runs and not self.machine.parked

    @property
    def pair(self) -> int:
        """Number of the pair that it is part of; 0: none."""
        side = self.machine.primary or self.machine.standby
        return 0 if side is None else side.pair

    @property
    def generation(self) -> int:
        """As its decision core has it; 0: it has none yet."""
        return 0 if self.copy is None else int(self.copy.core.generation)

    @property
    def epoch(self) -> int:
        """Newest epoch that it holds as a standby; 0: none."""
        return self.machine.standby.epoch if self.machine.standby is not None else 0

    def state(self) -> str:
        """For people."""
        if not self.process.alive:
            return "dead"
        return "starting" if self.copy is None else str(self.copy.core.state.value)
