"""What the guest's kernel says of a failover: clocks that step back, stalls, lockups."""

from bench.lab.lab import Lab
from bench.model import Row, Target, row


async def measure(lab: Lab) -> list[Row]:
    """Lines of its log, over all kills."""
    kills = await lab.kills()
    lines = sum(len(kill.complaints) for kill in kills)
    name = f"guest's kernel through {len(kills)} host power losses: complaints, clocks that stepped back"
    return [row(name, "lines", float(lines), target=Target(0, at_most=True))]
