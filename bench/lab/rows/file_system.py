"""The file system on the disk of the host that took over."""

from bench.lab.lab import Lab
from bench.model import Row, Target, row


async def measure(lab: Lab) -> list[Row]:
    """After how many kills e2fsck found fault with it."""
    kills = await lab.kills()
    damaged = sum(not kill.file_system_clean for kill in kills)
    name = f"file system after {len(kills)} host power losses: not clean"
    return [row(name, "times", float(damaged), target=Target(0, at_most=True))]
