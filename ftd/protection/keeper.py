"""Keeps up the protection that is wanted: looks at the VMs that run here, and tries to protect those that run
alone. What to try and when is decided by `pursuit`.

An operator's command goes before: one that wants the same joins the try that is under way, one that wants
something else makes it stand back, and the standby that was being made is discarded.
"""

from dataclasses import dataclass, field
from random import Random
from typing import Final

import trio

from ftd.busy import BusyVms
from ftd.config import Config
from ftd.entering import Entering
from ftd.errors import ControlError, ErrorKind
from ftd.log import get_logger
from ftd.protection.kept_off import KeptOff
from ftd.protection.pursuit import Facts, Pursuits
from ftd.protection.wishes import Wish, Wishes
from ftd.protocol.control import WorkerStatus
from ftd.protocol.control_operator import WantedProtection
from ftd.vm_states import runs_alone
from ftd.worker_process import Worker
from ftd.workers import Workers

LOOK_S: Final = 0.3
TRYING: Final = "re-protection"
log = get_logger(__name__)


@dataclass(eq=False)
class _Try:
    scope: trio.CancelScope = field(default_factory=trio.CancelScope)
    over: trio.Event = field(default_factory=trio.Event)


class Keeper:
    """One per daemon."""

    def __init__(
        self,
        config: Config,
        workers: Workers,
        busy: BusyVms,
        wishes: Wishes,
        kept_off: KeptOff,
        entering: Entering,
    ) -> None:
        self._config = config
        self._workers = workers
        self._busy = busy
        self._wishes = wishes
        self._kept_off = kept_off
        self._entering = entering
        # Two hosts that wait for each other's VMs must not do so in step.
        self._pursuits = Pursuits(Random())
        self._tries: dict[str, _Try] = {}
        self._asked: set[str] = set()
        self._facts: dict[str, Facts] = {}

    async def run(self) -> None:
        """Until cancelled."""
        async with trio.open_nursery() as nursery:
            while True:
                self._look(nursery)
                await trio.sleep(LOOK_S)

    async def join(self, vm: str) -> bool:
        """Waits for the end of what is being tried for a VM; False: nothing was."""
        attempt = self._tries.get(vm)
        if attempt is not None:
            await attempt.over.wait()
        return attempt is not None

    async def stand_back(self, vm: str) -> None:
        """Ends what is being tried for a VM; returns when it has ended."""
        if attempt := self._tries.get(vm):
            log.info("re-protection stands back for an operator", vm=vm)
            attempt.scope.cancel()
            await attempt.over.wait()

    def report(self) -> list[WantedProtection]:
        """Every VM that is to be protected, and what the ones that run alone wait for."""
        return [WantedProtection(vm=vm, waits_for=self._waits_for(vm)) for vm in sorted(self._wishes.all())]

    def _waits_for(self, vm: str) -> str:
        facts = self._facts.get(vm)
        return self._pursuits.waits_for(vm, facts) if facts is not None else ""

    def _look(self, nursery: trio.Nursery) -> None:
        pursued = {vm for vm in self._wishes.all() if self._pursues(vm) and self._workers.get(vm)}
        self._facts = {vm: facts for vm, facts in self._facts.items() if vm in pursued}
        # A worker that does not answer holds up nobody else: each is asked by a task of its own.
        for vm in pursued - self._tries.keys() - self._asked:
            worker = self._workers.get(vm)
            assert worker is not None
            self._asked.add(vm)
            nursery.start_soon(self._look_at, worker, nursery)

    def _pursues(self, vm: str) -> bool:
        configured = self._config.vms.get(vm)
        return configured is not None and configured.reprotect

    async def _look_at(self, worker: Worker, nursery: trio.Nursery) -> None:
        vm = worker.spec.vm
        try:
            status = await worker.status()
            await self._adopt(worker, status)
        except ControlError:
            return  # it ends, or does not answer: `status` shows that by itself
        finally:
            self._asked.discard(vm)
        if self._workers.get(vm) is not worker or self._wishes.get(vm) is None:
            return
        facts = self._facts[vm] = self._facts_of(vm, status)
        if not facts.runs_alone:
            self._pursuits.forget(vm)
            return
        host = self._pursuits.next_host(vm, facts, trio.current_time())
        if host is not None:
            self._pursuits.begun(vm, host)
            attempt = self._tries[vm] = _Try()
            nursery.start_soon(self._try, worker, host, attempt)

    def _facts_of(self, vm: str, status: WorkerStatus) -> Facts:
        return Facts(
            candidates=self._config.vms[vm].peers,
            runs_alone=runs_alone(status),
            busy=self._busy.is_busy(vm),
            kept_off=self._kept_off.hosts,
        )

    async def _adopt(self, worker: Worker, status: WorkerStatus) -> None:
        """A standby of this host has taken over: from here on the wish is this host's own."""
        vm = worker.spec.vm
        if status.role == "active" and self._wishes.get(vm) is Wish.STANDBY:
            await self._wishes.put(vm, Wish.ENTERED)

    async def _try(self, worker: Worker, host: str, attempt: _Try) -> None:
        vm = worker.spec.vm
        try:
            with attempt.scope:
                await self._try_host(worker, host)
            # Not when ftd itself ends: then the worker shall go on to be protected.
            if attempt.scope.cancelled_caught:
                self._pursuits.given_up(vm)
                await self._entering.undo(vm)
        finally:
            del self._tries[vm]
            attempt.over.set()

    async def _try_host(self, worker: Worker, host: str) -> None:
        vm = worker.spec.vm
        try:
            with self._busy.doing(vm, TRYING):
                await self._entering.enter_one(worker, host, wanted=True)
        except ControlError as error:
            away = error.kind is ErrorKind.PEER_UNREACHABLE
            self._pursuits.failed(vm, error.message, trio.current_time(), away=away)
            log.debug("not protected yet", vm=vm, host=host, reason=error.message)
        else:
            self._pursuits.succeeded(vm)
            self._facts.pop(vm, None)
            log.info("protected again", vm=vm, host=host)
