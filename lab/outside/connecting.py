"""How a client comes to the guest: over this process's own network, or from another network namespace."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import trio

Connect = Callable[[str, int], Awaitable[trio.SocketStream]]
"""Opens a TCP connection to an address and port. Raises OSError."""


async def from_here(address: str, port: int) -> trio.SocketStream:
    """Over this process's own network. Raises OSError."""
    return await trio.open_tcp_stream(address, port)


@dataclass(frozen=True)
class Service:
    """A port of the guest, and the way there."""

    address: str
    port: int
    connect: Connect = from_here

    async def open(self) -> trio.SocketStream:
        """A connection, without delays for the sake of few packets. Raises OSError."""
        stream = await self.connect(self.address, self.port)
        stream.setsockopt(trio.socket.IPPROTO_TCP, trio.socket.TCP_NODELAY, 1)
        return stream

    def __str__(self) -> str:
        return f"{self.address}:{self.port}"
