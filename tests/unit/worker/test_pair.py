"""What both ends of a data pair tell their data planes of it."""

import pytest
import trio
from msgspec.structs import replace

from ftd.protocol.control import WorkerSpec
from ftd.protocol.frames import pair_number
from ftd.protocol.refusal import Refusal
from ftd.worker.pair import Pair, PairError, PairListener, connect, link_config
from tests.sim.machine import PROCESSOR
from tests.sim.worker import make_spec

GENERATION = 3


def specs(token: bytes) -> tuple[WorkerSpec, WorkerSpec]:
    """A primary's and its standby's."""
    primary = make_spec("alpha", "active", timeout_ms=100, interval_ms=10, rate_hz=100)
    standby = make_spec("beta", "standby", timeout_ms=100, interval_ms=10, rate_hz=100)
    return primary, replace(standby, generation=GENERATION, data_listen="127.0.0.1", token=token)


async def numbers(token: bytes) -> tuple[int, int]:
    """The primary's and the standby's, over loopback."""
    primary, standby = specs(token)
    listener = PairListener(standby, PROCESSOR)
    ends: dict[str, Pair] = {}

    async def wait() -> None:
        ends["standby"] = await listener.wait()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(wait)
        ends["primary"] = await connect(primary, GENERATION, ("127.0.0.1", listener.port), token, PROCESSOR)
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


async def test_a_standby_whose_processor_the_guest_cannot_use_says_so() -> None:
    token = bytes(16)
    primary, standby = specs(token)
    standby = replace(standby, connect_timeout_s=1)
    listener = PairListener(standby, replace(PROCESSOR, xsave_bytes=8192))
    unwanted: list[PairError] = []

    async def wait() -> None:
        try:
            await listener.wait()
        except PairError as error:
            unwanted.append(error)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(wait)
        with pytest.raises(PairError, match=r"refused \(processor\): the processors' XSAVE areas differ"):
            await connect(primary, GENERATION, ("127.0.0.1", listener.port), token, PROCESSOR)
    assert listener.refused == {Refusal.PROCESSOR: 1}
    assert "no primary came" in str(unwanted[0])
