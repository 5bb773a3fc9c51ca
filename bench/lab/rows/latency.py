"""What protection adds to a request's round trip."""

from typing import Final

import trio

from bench.lab import checkpoints
from bench.lab.lab import Lab
from bench.model import NotMeasuredError, Row, Target, percentile, row
from lab.outside.chain_client import ChainClient

RATE_HZ: Final = 41.3
"""Requests a second, one at a time; no multiple of the checkpoints' rate."""
SECONDS: Final = 30.0
SECONDS_QUICK: Final = 5.0
EPOCHS_MAX: Final = 1.5


async def measure(lab: Lab) -> list[Row]:
    """Median and 99th percentile, protected beside unprotected; the same guest, one after the other."""
    await lab.scene.unprotected()
    bare_ms = await _round_trips_ms(lab, "unprotected")
    active = await lab.scene.protected()
    async with checkpoints.recorded(lab, active, "round trips"):
        protected_ms = await _round_trips_ms(lab, "ftd")
    await lab.scene.still_protected(active)
    rate_hz = lab.scene.protection.rate_hz
    rows = [
        row(
            f"round trip p{q} at {rate_hz}, to unprotected",
            "ms",
            percentile(protected_ms, q),
            reference=percentile(bare_ms, q),
        )
        for q in (50, 99)
    ]
    added_ms = percentile(protected_ms, 50) - percentile(bare_ms, 50)
    added_epochs = added_ms / 1000 / lab.scene.protection.epoch_s
    target = Target(EPOCHS_MAX, at_most=True)
    return [
        *rows,
        row(f"round trip at {rate_hz}: added in the median", "epochs", added_epochs, target=target),
    ]


async def _round_trips_ms(lab: Lab, side: str) -> list[float]:
    client = ChainClient(lab.scene.chain, rate_hz=RATE_HZ, window=1)
    async with trio.open_nursery() as nursery:
        await nursery.start(client.run)
        await trio.sleep(SECONDS_QUICK if lab.quick else SECONDS)
        client.stop()
    if not client.account.intact:
        raise NotMeasuredError(f"the connection was not whole, {side}: {client.account.report()}")
    times_ms = [time_s * 1000 for time_s in client.account.latencies_s]
    lab.record(side, "round trips", times_ms=[round(time_ms, 3) for time_ms in times_ms])
    return times_ms
