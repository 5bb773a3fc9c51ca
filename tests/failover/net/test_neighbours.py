"""The kernel as judge of the announcements: does a host that thinks the guest elsewhere believe them?"""

import fcntl
import json
import os
import struct

import pytest

from ftd.output.announce import frames
from ftd.output.network import IFF_NO_PI, IFF_TAP, TUNSETIFF
from tests.failover.net.lan import SWITCH, Lan, inside, ip, lan
from tests.failover.net.talk import MAC, MAC_BYTES

GUEST_IPV4 = "10.77.0.50"
GUEST_IPV6 = "fd77::50"
ELSEWHERE = "02:00:00:00:00:99"


def open_tap(network: Lan) -> int:
    """A tap in the switch outside."""

    def make() -> int:
        fd = os.open("/dev/net/tun", os.O_RDWR | os.O_CLOEXEC)
        fcntl.ioctl(fd, TUNSETIFF, struct.pack("16sH22x", b"guest0", IFF_TAP | IFF_NO_PI))
        return fd

    fd = inside(network.out, make)
    ip("-n", network.out, "link", "set", "guest0", "master", SWITCH, "up")
    return fd


def believed(network: Lan, address: str) -> str:
    rows = json.loads(ip("-json", "-n", network.out, "neigh", "show", address, "dev", SWITCH))
    return str(rows[0]["lladdr"])


@pytest.mark.parametrize(
    ("address", "packed"),
    [
        (GUEST_IPV4, bytes([10, 77, 0, 50])),
        (GUEST_IPV6, bytes.fromhex("fd77" + "0" * 26 + "50")),
    ],
)
def test_a_host_corrects_what_it_believes(address: str, packed: bytes) -> None:
    with lan() as network:
        fd = open_tap(network)
        try:
            ip("-n", network.out, "address", "add", "fd77::1/64", "dev", SWITCH, "nodad")
            place = ("lladdr", ELSEWHERE, "dev", SWITCH, "nud", "stale")
            ip("-n", network.out, "neigh", "add", address, *place)
            # The first frame makes the switch learn, and says nothing of addresses.
            for frame in frames(MAC_BYTES, [packed]):
                os.write(fd, frame)
            assert believed(network, address) == MAC
            assert network.port_of(MAC) == "guest0"
        finally:
            os.close(fd)
