"""What the network device takes for the guest's own addresses. Frames are built here, from the standards."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.dataplane.programs import Builder, run

OURS = bytes.fromhex("020000000001")
THEIRS = bytes.fromhex("020000000002")
ANY = bytes(16)
ALL_NODES = bytes.fromhex("ff02" + "0" * 27 + "1")
LINK_LOCAL = bytes.fromhex("fe800000000000000000000000000001")
GLOBAL = bytes.fromhex("20010db8000000000000000000000001")


def known(builder: Builder, *lines: tuple[str, bytes]) -> list[str]:
    """Addresses that are known after frames were sent (S) and heard (H), newest first."""
    text = "".join(f"{way} {frame.hex()}\n" for way, frame in lines)
    done = run(builder.program("net_addresses_pipe"), text=text)
    assert done.returncode == 0, done.stderr[-3000:]
    return [line for line in done.stdout.split() if int(line, 16)]


def arp(sender: str, *, mac: bytes = OURS, operation: int = 1, head: str = "000108000604") -> bytes:
    address = bytes(map(int, sender.split(".")))
    body = struct.pack("!6sH6s4s6x4s", bytes.fromhex(head), operation, mac, address, bytes([10, 0, 0, 9]))
    return b"\xff" * 6 + mac + b"\x08\x06" + body


def neighbour(
    kind: int, source: bytes, target: bytes, *, mac: bytes = OURS, hops: int = 255, next_header: int = 58
) -> bytes:
    icmp = struct.pack("!BBHI", kind, 0, 0, 0) + target
    head = struct.pack("!IHBB", 6 << 28, len(icmp), next_header, hops) + source + ALL_NODES
    return bytes.fromhex("333300000001") + mac + b"\x86\xdd" + head + icmp


@pytest.mark.parametrize("operation", [1, 2])
def test_the_sender_of_an_arp(builder: Builder, operation: int) -> None:
    assert known(builder, ("S", arp("10.0.0.1", operation=operation))) == ["0a000001"]


def test_sender_of_a_solicitation_and_targets(builder: Builder) -> None:
    solicits = neighbour(135, LINK_LOCAL, bytes.fromhex("20010db8" + "0" * 22 + "99"))
    takes = neighbour(135, ANY, GLOBAL)
    advertises = neighbour(136, LINK_LOCAL, GLOBAL)
    assert known(builder, ("S", solicits)) == [LINK_LOCAL.hex()]
    assert known(builder, ("S", takes)) == [GLOBAL.hex()]
    assert known(builder, ("S", solicits), ("S", advertises)) == [GLOBAL.hex(), LINK_LOCAL.hex()]


@pytest.mark.parametrize(
    "frame",
    [
        arp("0.0.0.0"),  # a probe
        arp("224.0.0.1"),
        arp("10.0.0.1", mac=THEIRS),  # somebody behind the guest
        arp("10.0.0.1", head="000108000804"),
        arp("10.0.0.1")[:41],
        neighbour(135, GLOBAL, LINK_LOCAL, hops=64),
        neighbour(135, GLOBAL, LINK_LOCAL, next_header=6),
        neighbour(133, GLOBAL, LINK_LOCAL),
        neighbour(136, GLOBAL, ANY),
        neighbour(136, GLOBAL, bytes.fromhex("ff02" + "0" * 28)),
        neighbour(136, LINK_LOCAL, GLOBAL)[:77],
        b"",
    ],
)
def test_what_shows_no_address_of_the_guest(builder: Builder, frame: bytes) -> None:
    assert known(builder, ("S", frame)) == []


def test_the_newest_are_kept(builder: Builder) -> None:
    sent = [("S", arp(f"10.0.0.{number}")) for number in (1, 2, 3, 4, 1, 5)]
    assert known(builder, *sent) == ["0a000005", "0a000001", "0a000004", "0a000003"]


def test_an_address_that_somebody_else_has_is_forgotten(builder: Builder) -> None:
    ours = [("S", arp("10.0.0.1")), ("S", arp("10.0.0.2")), ("S", neighbour(136, LINK_LOCAL, GLOBAL))]
    assert known(builder, *ours, ("H", arp("10.0.0.1", mac=THEIRS))) == ["0a000002", GLOBAL.hex()]
    assert known(builder, *ours, ("H", neighbour(136, GLOBAL, GLOBAL, mac=THEIRS))) == [
        "0a000002",
        "0a000001",
    ]
    assert len(known(builder, *ours, ("H", arp("10.0.0.1")), ("H", arp("10.0.0.7", mac=THEIRS)))) == 3


@settings(max_examples=30, deadline=None)
@given(st.lists(st.tuples(st.sampled_from("SH"), st.binary(max_size=100), st.sampled_from([2054, 34525]))))
def test_frames_of_any_kind_do_no_harm(builder: Builder, frames: list[tuple[str, bytes, int]]) -> None:
    known(builder, *((way, OURS * 2 + struct.pack("!H", kind) + rest) for way, rest, kind in frames))
