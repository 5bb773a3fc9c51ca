"""How long a client waits for an answer when the host loses power."""

from statistics import median

from bench.lab.lab import Lab
from bench.model import Row, Target, row

MEDIAN_MS = 400.0
LONGEST_MS = 1000.0


async def measure(lab: Lab) -> list[Row]:
    """Median and longest, over all kills: on a TCP connection, and without TCP."""
    kills = await lab.kills()
    waits_ms, pings_ms = [kill.blackout_ms for kill in kills], [kill.ping_blackout_ms for kill in kills]
    name = f"{len(waits_ms)} host power losses, timeout {lab.scene.protection.heartbeat_timeout_ms} ms"
    return [
        row(
            f"blackout at the client, median of {name}",
            "ms",
            median(waits_ms),
            target=Target(MEDIAN_MS, at_most=True),
        ),
        row(
            f"blackout at the client, longest of {name}",
            "ms",
            max(waits_ms),
            target=Target(LONGEST_MS, at_most=True),
        ),
        row(f"blackout of pings, median of {name}", "ms", median(pings_ms)),
        row(f"blackout of pings, longest of {name}", "ms", max(pings_ms)),
    ]
