"""The ledger guest's running hash, computed independently of it (compare ``vm/microvm/guests/chain.h``)."""

from collections.abc import Sequence

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

    def __init__(self, first: int = 0, hashes: Sequence[int] = (0,)) -> None:
        """Goes on with `hashes`, those of the requests from `first` on, as the guest itself has named them.

        Raises ValueError for fewer than it takes to compute the next one.
        """
        if first > 0 and len(hashes) <= LAG:
            raise ValueError(f"to go on from request {first} takes {LAG + 1} hashes, not {len(hashes)}")
        self._first = first
        self._hashes = list(hashes)

    @property
    def last(self) -> int:
        """The number of the newest request; 0 when there is none."""
        return self._first + len(self._hashes) - 1

    def knows(self, number: int) -> bool:
        """Whether `hash_of` can tell: not of requests from before this chain was begun."""
        return number <= 0 or self._first <= number <= self.last

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
        """H(number); 0 for numbers below 1. Raises IndexError for a request that is not known."""
        if not self.knows(number):
            raise IndexError(f"request {number} is not from {self._first} to {self.last}")
        return self._hashes[number - self._first] if number > 0 else 0
