"""Asks the ftd of a peer host. Whatever that one does, the answer here is a result or a sentence."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TypeVar

from ftd.config import Address
from ftd.errors import ControlError, ErrorKind
from ftd.limits import ready_deadline_s
from ftd.protocol.control import PROTOCOL_VERSION, Message, Method
from ftd.protocol.control_peer import (
    DISCARD_STANDBY,
    HAS_COPY,
    PEER_HELLO,
    PEER_MAINTENANCE,
    PREPARE_STANDBY,
    RELEASE_STANDBY,
    CopyReport,
    DiscardStandbyParams,
    HasCopyParams,
    HelloParams,
    PrepareStandbyParams,
    ReleaseStandbyParams,
    StandbyPrepared,
    StandbyReleased,
)
from ftd.protocol.maintenance import MaintenanceParams, MaintenanceReport
from ftd.transport.client import ControlConnection, connect_tcp
from ftd.transport.framing import TransportError

P = TypeVar("P", bound=Message)
R = TypeVar("R", bound=Message)


@dataclass(frozen=True, slots=True)
class Peer:
    """The daemon of another host."""

    ours: str
    """Name of the host that asks."""
    name: str
    address: Address

    async def prepare_standby(self, params: PrepareStandbyParams) -> StandbyPrepared:
        """Raises the peer's refusal, or ControlError(PEER_UNREACHABLE)."""
        deadline_s = PREPARE_STANDBY.deadline_s + ready_deadline_s(params.shape.memory_bytes)
        return await self.call(PREPARE_STANDBY, params, deadline_s=deadline_s)

    async def discard_standby(self, params: DiscardStandbyParams) -> None:
        """Raises the peer's refusal, or ControlError(PEER_UNREACHABLE)."""
        await self.call(DISCARD_STANDBY, params)

    async def release_standby(self, params: ReleaseStandbyParams) -> StandbyReleased:
        """Raises the peer's refusal, or ControlError(PEER_UNREACHABLE)."""
        return await self.call(RELEASE_STANDBY, params)

    async def has_copy(self, params: HasCopyParams) -> CopyReport:
        """Raises the peer's refusal, or ControlError(PEER_UNREACHABLE)."""
        return await self.call(HAS_COPY, params)

    async def maintenance(self, params: MaintenanceParams) -> MaintenanceReport:
        """Raises the peer's refusal, or ControlError(PEER_UNREACHABLE)."""
        return await self.call(PEER_MAINTENANCE, params)

    async def call(self, method: Method[P, R], params: P, *, deadline_s: float | None = None) -> R:
        """One request. Raises the peer's refusal, or ControlError(PEER_UNREACHABLE)."""
        try:
            async with self._greeted() as connection:
                return await connection.call(method, params, deadline_s=deadline_s)
        except TransportError as error:
            raise ControlError(
                ErrorKind.PEER_UNREACHABLE,
                f"the ftd of host {self.name} at {self.address}: {error}. "
                "Is it running, and is that its address?",
            ) from error
        except ControlError as error:
            raise ControlError(error.kind, f"host {self.name}: {error.message}") from error

    @asynccontextmanager
    async def _greeted(self) -> AsyncIterator[ControlConnection]:
        """A connection whose other end is the host that we think it is, and speaks our protocol."""
        async with connect_tcp(self.address) as connection:
            hello = HelloParams(host=self.ours, protocol_version=PROTOCOL_VERSION)
            answer = await connection.call(PEER_HELLO, hello)
            if answer.host != self.name:
                message = f"{self.address} is host {answer.host}; check the addresses in [peers]"
                raise ControlError(ErrorKind.CONFIG, message)
            check_version(answer)
            yield connection


def check_version(hello: HelloParams) -> None:
    """Raises ControlError(REFUSED) when the other host speaks another control protocol."""
    if hello.protocol_version != PROTOCOL_VERSION:
        raise ControlError(
            ErrorKind.REFUSED,
            f"host {hello.host} speaks control protocol {hello.protocol_version}, "
            f"this one {PROTOCOL_VERSION}: upgrade both to one release",
        )
