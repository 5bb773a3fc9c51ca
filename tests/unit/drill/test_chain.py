import pytest

from ftd.drill.chain import LAG, PAYLOAD_BYTES_MAX, Chain, fnv1a_64


def test_fnv_matches_its_published_vectors() -> None:
    assert fnv1a_64(b"") == 0xCBF29CE484222325
    assert fnv1a_64(b"a") == 0xAF63DC4C8601EC8C
    assert fnv1a_64(b"foobar") == 0x85944171F73967E8


def test_first_hash_chains_zeros_number_and_payload() -> None:
    assert Chain().append(b"hello") == fnv1a_64(bytes(16) + (1).to_bytes(8, "little") + b"hello")


def test_lag_reaches_back_by_exactly_37() -> None:
    chain = Chain()
    for number in range(1, LAG + 2):
        chain.append(b"%d" % number)
    words = (chain.hash_of(LAG), chain.hash_of(1), LAG + 1)
    data = b"".join(word.to_bytes(8, "little") for word in words)
    assert chain.hash_of(LAG + 1) == fnv1a_64(data + b"38")


@pytest.mark.parametrize("payload", [b"x" * (PAYLOAD_BYTES_MAX + 1), b"new\nline", b"\x7f", "ü".encode()])
def test_payloads_that_the_guest_ignores_are_refused(payload: bytes) -> None:
    chain = Chain()
    with pytest.raises(ValueError, match="printable"):
        chain.append(payload)
    assert chain.last == 0
