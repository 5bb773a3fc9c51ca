"""How long a client waits for an answer when the host loses power."""

from statistics import median

from bench.lab.lab import Lab
from bench.model import Row, Target, row

MEDIAN_MS = 400.0
LONGEST_MS = 1000.0


async def measure(lab: Lab) -> list[Row]:
    """Median and longest, over all kills."""
    waits_ms = [kill.blackout_ms for kill in await lab.kills()]
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
    ]
