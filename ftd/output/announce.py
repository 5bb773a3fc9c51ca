"""The frames that tell a network where a guest is now: built here, sent by the worker. Pure."""

from __future__ import annotations

import struct
from collections.abc import Iterable
from typing import Final

BROADCAST: Final = b"\xff" * 6
ETHER_ARP: Final = 0x0806
ETHER_RARP: Final = 0x8035
ETHER_IPV6: Final = 0x86DD
ARP_REQUEST: Final = 1
ARP_REPLY: Final = 2
RARP_REQUEST: Final = 3
ALL_NODES: Final = bytes.fromhex("ff020000000000000000000000000001")
ALL_NODES_MAC: Final = bytes.fromhex("333300000001")
ICMPV6: Final = 58
NEIGHBOUR_ADVERTISEMENT: Final = 136
OVERRIDE: Final = 0x20000000
TARGET_LINK_ADDRESS: Final = 2
NO_ADDRESS: Final = bytes(4)


def frames(mac: bytes, addresses: Iterable[bytes]) -> list[bytes]:
    """All that has to be said of a guest with this MAC and these addresses (4 bytes for IPv4, 16 for IPv6).

    The first is for the switches and says nothing of addresses: it is right also where none is known. The
    others correct what hosts of the network remember, should they think the guest at another MAC.
    """
    made = [_arp(ETHER_RARP, RARP_REQUEST, mac, NO_ADDRESS, mac)]
    for address in addresses:
        if len(address) == 4:
            # Both forms: some hosts heed only the one, some only the other (RFC 5227, section 3).
            made.append(_arp(ETHER_ARP, ARP_REQUEST, mac, address, bytes(6)))
            made.append(_arp(ETHER_ARP, ARP_REPLY, mac, address, mac))
        else:
            made.append(_neighbour_advertisement(mac, address))
    return made


def _arp(ether_type: int, operation: int, mac: bytes, address: bytes, target_mac: bytes) -> bytes:
    head = BROADCAST + mac + struct.pack("!H", ether_type)
    return head + struct.pack("!HHBBH", 1, 0x0800, 6, 4, operation) + mac + address + target_mac + address


def _neighbour_advertisement(mac: bytes, address: bytes) -> bytes:
    """Unsolicited, to all nodes, with the override flag: RFC 4861, sections 4.4 and 7.2.6."""
    link_address = bytes([TARGET_LINK_ADDRESS, 1]) + mac
    body = struct.pack("!I", OVERRIDE) + address + link_address
    length = 4 + len(body)
    pseudo_header = address + ALL_NODES + struct.pack("!II", length, ICMPV6)
    head = struct.pack("!BB", NEIGHBOUR_ADVERTISEMENT, 0)
    checksum = internet_checksum(pseudo_header + head + bytes(2) + body)
    ipv6 = struct.pack("!IHBB", 6 << 28, length, ICMPV6, 255) + address + ALL_NODES
    ether = ALL_NODES_MAC + mac + struct.pack("!H", ETHER_IPV6)
    return ether + ipv6 + head + struct.pack("!H", checksum) + body


def internet_checksum(data: bytes) -> int:
    """RFC 1071, of an even number of bytes."""
    total: int = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF
