"""A guest's network in its worker: the device, and saying where the guest is after it has moved."""

from __future__ import annotations

from typing import Final, Protocol

import trio

from ftd.dataplane.core import NetDevice
from ftd.dataplane.errors import DataplaneError
from ftd.log import get_logger
from ftd.output import announce
from ftd.protocol.control import NetSpec

ANNOUNCE_AT_S: Final = (0.0, 0.05, 0.15, 0.35)
"""More than once: a switch that has just lost its neighbour may drop the first."""
log = get_logger(__name__)


def device(net: NetSpec | None) -> NetDevice | None:
    """What the machine is made with."""
    return NetDevice(mac=net.mac, mtu=net.mtu) if net else None


class Sender(Protocol):
    """What announcing needs of a machine."""

    def net_addresses(self) -> list[bytes]: ...

    def net_send(self, frame: bytes) -> None: ...


async def announce_guest(machine: Sender, mac: bytes) -> None:
    """Tells the network where the guest is now. Ends early when the guest has ended.

    The frames go out as the guest's own do: not before their epoch is acknowledged should the guest be
    protected anew meanwhile, and not at all from a copy that is no longer the active one.
    """
    began_s = trio.current_time()
    for at_s in ANNOUNCE_AT_S:
        await trio.sleep_until(began_s + at_s)
        # Asked each time: the guest goes on showing its addresses.
        addresses = machine.net_addresses()
        try:
            for frame in announce.frames(mac, addresses):
                machine.net_send(frame)
        except DataplaneError as error:
            log.warning("not announced", reason=error.message)
            return
    log.info("announced", addresses=len(addresses))
