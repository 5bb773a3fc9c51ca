"""The contract over etcd: one key per VM, prefix and id, whose value is the record.

Read, decide, swap if nothing was written since: the comparison is with the revision of what was read, so that
a request which is late by any amount changes nothing any more. That makes every question safe to ask twice,
also of two members at once. No clock takes part, but for how long is waited.
"""

from __future__ import annotations

import ssl
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Final, TypeVar

from ftd.arbiter import decisions, record
from ftd.arbiter.contract import ArbiterUnreachable, Lost, Record, Won
from ftd.arbiter.etcd.first_answer import AskError, NoAnswerError, first_answer
from ftd.arbiter.etcd.gateway import Gateway, NotYetError, Stored
from ftd.arbiter.etcd.http import HttpError, connected
from ftd.arbiter.etcd.lineage import Lineage, RefusedAnswer
from ftd.arbiter.record import ADVICE, DamagedRecord
from ftd.protocol.control import EtcdSpec, EtcdTlsSpec

STAGGER_MS: Final = 100
"""A member that is well answers within a few milliseconds: then nobody else is asked."""

T = TypeVar("T")


class EtcdArbiter:
    """Arbiter whose records are keys of an etcd cluster. Creating it touches nothing."""

    def __init__(self, spec: EtcdSpec) -> None:
        self._spec = spec
        self._lineage = Lineage()

    async def claim(self, vm_id: str, expected: int, holder: str, claim_id: bytes) -> Won | Lost:
        """See the contract. Raises ValueError for a holder or claim id that cannot be one."""
        wanted = decisions.wanted(vm_id, expected, holder, claim_id)
        return await self._ask(f"claiming generation {wanted.generation}", partial(self._claim, wanted))

    async def read(self, vm_id: str) -> Record | None:
        """See the contract."""
        return await self._ask("reading the generation", partial(self._read, decisions.canonical(vm_id)))

    async def release(self, vm_id: str, generation: int, holder: str) -> bool:
        """See the contract."""
        ask = partial(self._release, decisions.canonical(vm_id), generation, holder)
        return await self._ask(f"releasing generation {generation}", ask)

    # What is asked of one member. Each pass of a loop means that somebody else has written: they end.

    async def _claim(self, wanted: Record, gateway: Gateway) -> Won | Lost:
        key = self._key(wanted.vm_id)
        stored = await gateway.get(key.encode())
        while True:
            answer = decisions.judge(_decode(stored, wanted.vm_id, key), wanted, _where(key))
            if answer is not None:
                return answer
            instead = await gateway.swap(key.encode(), stored, record.encode(wanted))
            if instead is None:
                return Won(wanted)
            stored = instead

    async def _read(self, vm_id: str, gateway: Gateway) -> Record | None:
        key = self._key(vm_id)
        return _decode(await gateway.get(key.encode()), vm_id, key)

    async def _release(self, vm_id: str, generation: int, holder: str, gateway: Gateway) -> bool:
        key = self._key(vm_id)
        stored = await gateway.get(key.encode())
        while True:
            released = decisions.released(_decode(stored, vm_id, key), generation, holder)
            if released is None:
                return False
            instead = await gateway.swap(key.encode(), stored, record.encode(released))
            if instead is None:
                return True
            stored = instead

    def _key(self, vm_id: str) -> str:
        return f"{self._spec.prefix}{vm_id}"

    async def _ask(self, task: str, ask: Callable[[Gateway], Awaitable[T]]) -> T:
        tls = _tls_context(task, self._spec.tls) if self._spec.tls else None
        questions = {
            str(endpoint): partial(self._ask_member, endpoint.host, endpoint.port, tls, ask)
            for endpoint in self._spec.endpoints
        }
        try:
            return await first_answer(questions, timeout_ms=self._spec.timeout_ms, stagger_ms=STAGGER_MS)
        except NoAnswerError as error:
            raise ArbiterUnreachable(f"{task} in etcd: {error}") from error

    async def _ask_member(
        self, host: str, port: int, tls: ssl.SSLContext | None, ask: Callable[[Gateway], Awaitable[T]]
    ) -> T:
        try:
            async with connected(host, port, tls) as connection:
                return await ask(Gateway(connection, self._lineage))
        except NotYetError as error:
            raise AskError(str(error), passing=True) from error
        except (HttpError, RefusedAnswer) as error:
            raise AskError(str(error)) from error
        except DamagedRecord as error:
            raise AskError(f"{error}; {ADVICE}") from error


def _decode(stored: Stored, vm_id: str, key: str) -> Record | None:
    return None if stored.value is None else record.decode(stored.value, vm_id, _where(key))


def _where(key: str) -> str:
    return f"key {key}"


def _tls_context(task: str, spec: EtcdTlsSpec) -> ssl.SSLContext:
    # Made for each question, so that a certificate that was renewed counts from then on.
    try:
        context = ssl.create_default_context(cafile=spec.ca_file)
    except (OSError, ssl.SSLError) as error:
        why = f"arbiter.ca_file {spec.ca_file} cannot be used ({error.strerror or error})"
        raise ArbiterUnreachable(f"{task} in etcd: {why}") from error
    if spec.cert_file is not None:
        try:
            context.load_cert_chain(spec.cert_file, spec.key_file)
        except (OSError, ssl.SSLError) as error:
            files = f"arbiter.cert_file {spec.cert_file} and arbiter.key_file {spec.key_file}"
            why = f"{files} cannot be used together ({error.strerror or error})"
            raise ArbiterUnreachable(f"{task} in etcd: {why}") from error
    return context
