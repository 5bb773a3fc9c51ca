"""What protection adds to a request's round trip."""

from typing import Final

import trio

from bench.lab import checkpoints
from bench.lab.lab import Lab
from bench.model import NotMeasuredError, Row
from bench.round_trip_rows import REQUESTS_PER_SECOND, rows_of
from lab.outside.chain_client import ChainClient

SECONDS: Final = 30.0
SECONDS_QUICK: Final = 5.0


async def measure(lab: Lab) -> list[Row]:
    """Median and 99th percentile, protected beside unprotected; the same guest, one after the other."""
    await lab.scene.unprotected()
    bare_ms = await _round_trips_ms(lab, "unprotected")
    active = await lab.scene.protected()
    async with checkpoints.recorded(lab, active, "round trips"):
        protected_ms = await _round_trips_ms(lab, "ftd")
    await lab.scene.still_protected(active)
    return rows_of(lab.scene.protection.rate_hz, bare_ms, protected_ms)


async def _round_trips_ms(lab: Lab, side: str) -> list[float]:
    client = ChainClient(lab.scene.chain, rate_hz=REQUESTS_PER_SECOND, window=1)
    async with trio.open_nursery() as nursery:
        await nursery.start(client.run)
        await trio.sleep(SECONDS_QUICK if lab.quick else SECONDS)
        client.stop()
    if not client.account.intact:
        raise NotMeasuredError(f"the connection was not whole, {side}: {client.account.report()}")
    times_ms = [time_s * 1000 for time_s in client.account.latencies_s]
    lab.record(side, "round trips", times_ms=[round(time_ms, 3) for time_ms in times_ms])
    return times_ms
