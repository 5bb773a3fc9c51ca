"""How fast the guest writes to its disk, protected beside unprotected."""

from statistics import median
from typing import Final

from bench.lab import checkpoints
from bench.lab.lab import Lab
from bench.model import Row, Target, row
from lab.guest.services import SHELL_PORT
from lab.outside import disk_probe

RUNS: Final = 5
MIB: Final = 32
BLOCK_KIB: Final = 64
RATIO_MIN: Final = 0.7


async def measure(lab: Lab) -> list[Row]:
    """Medians; past the guest's page cache, its disk flushed at the end."""
    await lab.scene.unprotected()
    bare = await _rates(lab, "unprotected")
    active = await lab.scene.protected()
    async with checkpoints.recorded(lab, active, "disk writes"):
        protected = await _rates(lab, "ftd")
    await lab.scene.still_protected(active)
    name = f"disk writes of {BLOCK_KIB} KiB at {lab.scene.protection.rate_hz}, to unprotected"
    target = Target(RATIO_MIN, of_reference=True)
    return [row(name, "MB/s", median(protected), reference=median(bare), target=target)]


async def _rates(lab: Lab, side: str) -> list[float]:
    rates: list[float] = []
    for _ in range(1 if lab.quick else RUNS):
        probe = await disk_probe.measure(lab.scene.service(SHELL_PORT), mib=MIB, block_kib=BLOCK_KIB)
        rates.append(probe.mb_per_s)
    lab.record(side, "disk writes", mb_per_s=rates)
    return rates
