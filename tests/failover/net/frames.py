"""What passes on a port of the switch outside."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import trio

from tests.failover.net.lan import Lan


@dataclass
class Watch:
    """Frames that came in from a host with the guest's address as their source, and when."""

    seen: list[tuple[float, bytes]] = field(default_factory=list)

    def announced(self, ether_type: int, operation: int) -> list[float]:
        """When frames in the form of an ARP came that name their sender's address as their target."""
        kind = ether_type.to_bytes(2, "big"), operation.to_bytes(2, "big")
        return [
            at_s
            for at_s, frame in self.seen
            if (frame[12:14], frame[20:22]) == kind and frame[28:32] == frame[38:42]
        ]


@contextmanager
def watching(network: Lan, port: str, mac: bytes, nursery: trio.Nursery) -> Iterator[Watch]:
    """Collects what comes in on `alpha` or `beta` while in the block."""
    watch = Watch()
    with network.raw_socket(port) as raw:
        raw.setblocking(False)
        scope = trio.CancelScope()

        async def collect() -> None:
            with scope:
                while True:
                    await trio.lowlevel.wait_readable(raw)
                    if scope.cancel_called:
                        return  # the block has ended between the frame and this turn: the socket is closed
                    frame, address = raw.recvfrom(2048)
                    if frame[6:12] == mac and address[2] != socket.PACKET_OUTGOING:
                        watch.seen.append((trio.current_time(), frame))

        nursery.start_soon(collect)
        try:
            yield watch
        finally:
            scope.cancel()
