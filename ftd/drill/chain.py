"""The ledger guest's running hash, computed independently of it (compare ``vm/microvm/guests/chain.h``)."""

LAG = 37
PAYLOAD_BYTES_MAX = 200
_FNV_BASIS = 0xCBF29CE484222325
_FNV_PRIME = 0x100000001B3
_MASK = (1 << 64) - 1


def fnv1a_64(data: bytes) -> int:
    """FNV-1a, 64 bits."""
    value = _FNV_BASIS
    for byte in data:
        value = ((value ^ byte) * _FNV_PRIME) & _MASK
    return value


class Chain:
    """What the ledger must answer: H(n) = FNV-1a-64 of H(n-1), H(n-37), n, payload; 0 for n <= 0."""

    def __init__(self) -> None:
        self._hashes = [0]

    @property
    def last(self) -> int:
        """The number of the newest request; 0 when there is none."""
        return len(self._hashes) - 1

    def append(self, payload: bytes) -> int:
        """Chains the next request and returns its hash.

        Raises ValueError for a payload that the ledger would ignore.
        """
        if len(payload) > PAYLOAD_BYTES_MAX or any(not 0x20 <= byte <= 0x7E for byte in payload):
            raise ValueError(f"a payload is at most {PAYLOAD_BYTES_MAX} printable bytes: {payload!r}")
        number = self.last + 1
        words = (self._hashes[-1], self.hash_of(number - LAG), number)
        self._hashes.append(fnv1a_64(b"".join(word.to_bytes(8, "little") for word in words) + payload))
        return self._hashes[-1]

    def hash_of(self, number: int) -> int:
        """H(number); 0 for numbers below 1. Raises IndexError for a request that was not chained yet."""
        return self._hashes[number] if number > 0 else 0
