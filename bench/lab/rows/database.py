"""A database in the guest: acknowledged writes that are missing after host power loss."""

from typing import Any

from bench.lab.lab import Lab
from bench.model import Row, Target, row


async def measure(lab: Lab) -> list[Row]:
    """Asked of the guest that went on, and of one that was booted from the disk as it then was."""
    kills = await lab.kills()
    none = Target(0, at_most=True)
    acknowledged = max(kill.database["acknowledged"] for kill in kills)
    name = f"Redis, {acknowledged:,} acknowledged writes, {len(kills)} host power losses"
    went_on = sum(_damage(kill.database) for kill in kills)
    booted = sum(_damage(kill.database_from_disk) for kill in kills)
    return [
        row(f"{name}: missing", "writes", float(went_on), target=none),
        row(f"{name}: missing after a boot from the disk", "writes", float(booted), target=none),
    ]


def _damage(report: dict[str, Any]) -> int:
    """Writes that are not there, are wrong, or could not be looked for."""
    not_looked_for = int(report["acknowledged"]) - int(report["verified"])
    return int(report["missing"]) + int(report["wrong"]) + not_looked_for
