"""The rows of the table: how each is measured and what it is held to."""

from typing import Final

from bench.lab.lab import Measure
from bench.lab.rows import blackout, clocks, database, disk, file_system, latency, migration, tcp_loss

ROWS: Final[dict[str, Measure]] = {
    "latency": latency.measure,
    "disk": disk.measure,
    "tcp-loss": tcp_loss.measure,
    "blackout": blackout.measure,
    "database": database.measure,
    "file-system": file_system.measure,
    "clocks": clocks.measure,
    "migration": migration.measure,
}
"""In this order: what compares a guest with itself comes before the kills."""
