"""What both ends of a data pair tell their data planes of it."""

import trio
from msgspec.structs import replace

from ftd.protocol.frames import pair_number
from ftd.worker.pair import Pair, PairListener, connect, link_config
from tests.sim.worker import make_spec

GENERATION = 3


async def numbers(token: bytes) -> tuple[int, int]:
    """The primary's and the standby's, over loopback."""
    primary = make_spec("alpha", "active", timeout_ms=100, interval_ms=10, rate_hz=100)
    standby = make_spec("beta", "standby", timeout_ms=100, interval_ms=10, rate_hz=100)
    standby = replace(standby, generation=GENERATION, data_listen="127.0.0.1", token=token)
    listener = PairListener(standby)
    ends: dict[str, Pair] = {}

    async def wait() -> None:
        ends["standby"] = await listener.wait()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(wait)
        ends["primary"] = await connect(primary, GENERATION, "127.0.0.1", listener.port, token)
    found = (
        link_config(primary, GENERATION, ends["primary"]).pair,
        link_config(standby, GENERATION, ends["standby"]).pair,
    )
    for pair in ends.values():
        pair.close()
    return found


async def test_both_ends_mark_their_frames_with_a_number_of_the_token() -> None:
    first, second = bytes(16), bytes(range(16))
    assert await numbers(first) == (pair_number(first),) * 2
    assert await numbers(second) == (pair_number(second),) * 2
    assert len({0, pair_number(first), pair_number(second)}) == 3
