"""Announcements, taken apart by hand. Whether a kernel heeds them: tests/failover/net/test_neighbours.py."""

import struct

import pytest

from ftd.output.announce import frames, internet_checksum

MAC = bytes.fromhex("02f7d0000001")
IPV4 = bytes([10, 77, 0, 50])
IPV6 = bytes.fromhex("20010db8000000000000000000000050")


def sum_of_words(data: bytes) -> int:
    """The ones' complement sum, byte by byte: 0xffff over data that holds its own checksum."""
    total = 0
    for index, byte in enumerate(data):
        total += byte << 8 if index % 2 == 0 else byte
        total = (total & 0xFFFF) + (total >> 16)
    return total


def test_without_an_address_only_the_switches_are_told() -> None:
    (frame,) = frames(MAC, [])
    assert frame.hex() == (
        "ffffffffffff02f7d00000018035"  # everybody, from the guest, RARP
        "000108000604000302f7d00000010000000002f7d000000100000000"  # who am I?
    )


def test_both_forms_of_gratuitous_arp() -> None:
    _, request, reply = frames(MAC, [IPV4])
    head = "ffffffffffff02f7d00000010806" + "0001080006040"
    assert request.hex() == head + "00102f7d00000010a4d00320000000000000a4d0032"
    assert reply.hex() == head + "00202f7d00000010a4d003202f7d00000010a4d0032"


def test_an_unsolicited_neighbour_advertisement() -> None:
    _, frame = frames(MAC, [IPV6])
    assert frame[:14].hex() == "33330000000102f7d000000186dd"
    version, length, next_header, hops = struct.unpack("!IHBB", frame[14:22])
    assert (version, length, next_header, hops) == (0x60000000, len(frame) - 54, 58, 255)
    source, destination, icmp = frame[22:38], frame[38:54], frame[54:]
    assert source == IPV6
    assert destination.hex() == "ff02" + "0" * 27 + "1"
    kind, code, _, flags = struct.unpack("!BBHI", icmp[:8])
    assert (kind, code, flags) == (136, 0, 0x20000000), "neither router nor solicited, but override"
    assert icmp[8:24] == IPV6
    assert icmp[24:] == b"\x02\x01" + MAC
    pseudo_header = source + destination + struct.pack("!II", len(icmp), 58)
    assert sum_of_words(pseudo_header + icmp) == 0xFFFF


@pytest.mark.parametrize(
    ("data", "checksum"),
    [
        ("0001f203f4f5f6f7", 0x220D),  # RFC 1071, section 3: the sum is ddf2
        ("45000073000040004011" + "0000" + "c0a80001c0a800c7", 0xB861),
        ("ffff", 0),
    ],
)
def test_checksum(data: str, checksum: int) -> None:
    assert internet_checksum(bytes.fromhex(data)) == checksum


def test_every_address_is_announced() -> None:
    assert len(frames(MAC, [IPV4, bytes([10, 0, 0, 1]), IPV6])) == 1 + 2 + 2 + 1
