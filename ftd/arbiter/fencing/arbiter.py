"""Answers claims where there is no arbiter: whoever proves that the other host is off may go on.

Why that is enough between two hosts: a copy that lost its peer stands still until it has proof, on both
sides. So while this side has none, the other has let nothing out since the loss, unless it has turned this
host off, and then nobody asks here. It holds only where *nobody* can go on without proof:

- With an arbiter, proof does not replace its answer: the other copy may have won a generation, gone on and
  been seen, before it was turned off. Therefore this is an arbiter of its own kind and not a second opinion.
- A planned switchover would have to turn the old host off as well: until its answer to HANDOVER has arrived,
  the standby cannot tell a primary that has stopped for it from one that takes the guest back. Therefore
  nothing can be read here, which is how switchovers are refused.

Generations are counted on each host by itself; they only tell pairs of copies apart.
"""

from __future__ import annotations

from pathlib import Path

import trio

from ftd.arbiter import decisions, record_file
from ftd.arbiter.contract import ArbiterUnreachable, Lost, Record, Won
from ftd.arbiter.fencing.agent import FenceFailed, turn_off
from ftd.arbiter.fencing.proof import Proof, now_ns
from ftd.arbiter.local import LocalArbiter
from ftd.protocol.control import FencingSpec


class FencingArbiter:
    """Of one worker. Creating it touches nothing."""

    def __init__(self, directory: Path, spec: FencingSpec) -> None:
        self._directory = directory
        self._records = LocalArbiter(directory)
        self._spec = spec
        self._proof = Proof(directory, spec.peer)
        self._claim_id = b""
        self._since_ns = 0

    async def claim(self, vm_id: str, expected: int, holder: str, claim_id: bytes) -> Won | Lost:
        """See the contract. Never Lost: a host that was turned off hears no answer."""
        if claim_id != self._claim_id:
            self._claim_id, self._since_ns = claim_id, now_ns()
        wanted = decisions.wanted(vm_id, expected, holder, claim_id)
        try:
            await self._prove()
            await trio.to_thread.run_sync(self._record, wanted)
        except FenceFailed as error:
            raise ArbiterUnreachable(str(error)) from error
        except OSError as error:
            why = error.strerror or str(error)
            raise ArbiterUnreachable(f"recording a proof in {self._directory}: {why}") from error
        return Won(wanted)

    async def read(self, vm_id: str) -> Record | None:
        """There is nobody who could say. Raises ArbiterUnreachable, always."""
        del vm_id
        raise ArbiterUnreachable("there is no arbiter ([arbiter] kind = 'none')")

    async def release(self, vm_id: str, generation: int, holder: str) -> bool:
        """See the contract: of this host's own record."""
        return await self._records.release(vm_id, generation, holder)

    async def _prove(self) -> None:
        """Returns when the other host is known to have been off since this claim began. Raises FenceFailed,
        OSError."""
        if self._proof.is_newer_than(self._since_ns):
            return
        spec = self._spec
        if spec.device is None:
            raise FenceFailed(
                "no arbiter and no fence command may decide (unattended_failover = false): make sure that "
                f"host {spec.peer} is off, then tell it here with `ftctl confirm-off {spec.peer}`"
            )
        with self._proof.taken() as mine:
            if not mine:
                raise FenceFailed(f"host {spec.peer} is being turned off for another VM")
            # So that of two hosts that lost each other one is turned off, and not both.
            await trio.sleep(spec.device.delay_s)
            if self._proof.is_newer_than(self._since_ns):
                return
            self._proof.write(await turn_off(spec.device))

    def _record(self, wanted: Record) -> None:
        self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        record_file.write(self._directory / f"{wanted.vm_id}.json", wanted, lambda _step: None)
