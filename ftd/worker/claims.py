"""Asks the arbiter, for the cores and at start."""

from __future__ import annotations

import os
import uuid
from dataclasses import dataclass

from ftd.arbiter.contract import CLAIM_ID_BYTES, NOBODY, Arbiter, ArbiterUnreachable, Won
from ftd.errors import ControlError, ErrorKind
from ftd.replication import events as ev
from ftd.worker import faults


def new_claim_id() -> bytes:
    """An id that no other claim has."""
    return os.urandom(CLAIM_ID_BYTES)


@dataclass(frozen=True)
class Claims:
    """One host's questions about one VM."""

    arbiter: Arbiter
    vm: str
    vm_id: bytes
    host: str

    @property
    def _key(self) -> str:
        return str(uuid.UUID(bytes=self.vm_id))

    async def claim(self, expected: int, claim_id: bytes) -> ev.ArbiterAnswer:
        """One claim of generation ``expected`` + 1, as the event that a core takes."""
        faults.passed("claim.before")
        try:
            answer = await self.arbiter.claim(self._key, expected, self.host, claim_id)
        except ArbiterUnreachable as error:
            return ev.ArbiterUnreachable(error.reason)
        if isinstance(answer, Won):
            faults.passed("claim.won")
            return ev.ClaimWon(answer.record.generation)
        return ev.ClaimLost(answer.record.generation, answer.record.holder)

    async def probe(self) -> ev.ArbiterAnswer:
        """Whether the arbiter can be read."""
        try:
            await self.arbiter.read(self._key)
        except ArbiterUnreachable as error:
            return ev.ProbeFailed(error.reason)
        return ev.ProbeAnswered()

    async def release(self, generation: int) -> None:
        """The guest has ended. Best effort: an arbiter that does not answer keeps its record."""
        try:
            await self.arbiter.release(self._key, generation, self.host)
        except ArbiterUnreachable:
            return

    async def newest_generation(self) -> int:
        """The newest that was given, to whomever; 0: none. Raises ControlError."""
        try:
            record = await self.arbiter.read(self._key)
        except ArbiterUnreachable as error:
            raise ControlError(ErrorKind.ARBITER, f"VM {self.vm}: {error.reason}") from error
        return record.generation if record else 0

    async def first_generation(self, *, force: bool) -> int:
        """The generation in which a guest may be started here. Raises ControlError when it may not."""
        try:
            record = await self.arbiter.read(self._key)
            generation = record.generation if record else 0
            if record and record.holder not in (NOBODY, self.host) and not force:
                raise ControlError(
                    ErrorKind.REFUSED,
                    f"VM {self.vm} belongs to host {record.holder} (generation {generation}). "
                    "If that host is surely dead, start it here with --force",
                )
            answer = await self.arbiter.claim(self._key, generation, self.host, new_claim_id())
        except ArbiterUnreachable as error:
            raise ControlError(ErrorKind.ARBITER, f"VM {self.vm}: {error.reason}") from error
        if not isinstance(answer, Won):
            raise ControlError(
                ErrorKind.REFUSED, f"VM {self.vm}: host {answer.record.holder} was faster to start it"
            )
        return answer.record.generation
