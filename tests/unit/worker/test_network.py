"""When a guest that has moved is announced."""

import errno

import trio
from trio.testing import MockClock

from ftd.dataplane.errors import DataplaneError
from ftd.output.announce import frames
from ftd.worker.network import announce_guest

MAC = bytes.fromhex("02f7d0000001")
FIRST, SECOND = bytes([10, 0, 0, 1]), bytes([10, 0, 0, 2])


class Card:
    """A machine whose guest shows a second address after 100 ms, and that ends at `ends_at_s`."""

    def __init__(self, ends_at_s: float = 1000) -> None:
        self.sent: list[tuple[float, bytes]] = []
        self._began_s = trio.current_time()
        self._ends_at_s = ends_at_s

    def now_s(self) -> float:
        return round(trio.current_time() - self._began_s, 6)

    def net_addresses(self) -> list[bytes]:
        return [FIRST, SECOND] if self.now_s() > 0.1 else [FIRST]

    def net_send(self, frame: bytes) -> None:
        if self.now_s() >= self._ends_at_s:
            raise DataplaneError(errno.EINVAL, "the VM does not run")
        self.sent.append((self.now_s(), frame))


async def test_four_times_with_what_is_known_then(autojump_clock: MockClock) -> None:
    card = Card()
    await announce_guest(card, MAC)
    one, two = frames(MAC, [FIRST]), frames(MAC, [FIRST, SECOND])
    expected = [(at_s, frame) for at_s in (0.0, 0.05) for frame in one]
    expected += [(at_s, frame) for at_s in (0.15, 0.35) for frame in two]
    assert card.sent == expected


async def test_a_guest_that_has_ended_is_announced_no_more(autojump_clock: MockClock) -> None:
    card = Card(ends_at_s=0.05)
    await announce_guest(card, MAC)
    assert {at_s for at_s, _ in card.sent} == {0.0}
    assert card.now_s() == 0.05
