"""What a worker takes of a host's memory for itself."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import trio

from bench.guest_memory import MEMFD_NAME
from bench.product import HOT_PAGES_MAX
from ftd.drill.local_pair import Guest, LocalHost, local_pair

SETTLE_S: Final = 1.0
MIB: Final = 1 << 20
PAGE_BYTES: Final = 4096
LIST_ENTRY_BYTES: Final = 8
EPOCH_PAGES_MAX: Final = 4096
EPOCHS_IN_FLIGHT: Final = 4
PARTS_MAX: Final = 4
_MAPPING = re.compile(r"[0-9a-f]+-[0-9a-f]+ \S+ \S+ \S+ \d+ *(?P<path>.*)")
_RSS = re.compile(r"Rss: +(?P<kib>\d+) kB")


@dataclass(frozen=True)
class Resident:
    """Of one worker, in bytes. Shared libraries count in full."""

    total: int
    guest: int
    arenas: int

    @property
    def own_mib(self) -> float:
        """What is neither guest memory nor arenas."""
        return (self.total - self.guest - self.arenas) / MIB


def resident_bytes(smaps: str) -> tuple[int, int]:
    """Resident bytes of all mappings, and of those of the guest's memfd, from the text of /proc/PID/smaps."""
    total = guest = 0
    path = ""
    for line in smaps.splitlines():
        if match := _MAPPING.fullmatch(line):
            path = match["path"]
        elif match := _RSS.fullmatch(line):
            resident = int(match["kib"]) << 10
            total += resident
            guest += resident if path.startswith(MEMFD_NAME) else 0
    return total, guest


def arena_bytes(arenas: int) -> int:
    """Arenas are populated when they are made, so all of their pages and lists are resident."""
    return arenas * EPOCH_PAGES_MAX * (PAGE_BYTES + LIST_ENTRY_BYTES)


async def workers_resident() -> dict[str, Resident]:
    """Of the primary's and the standby's worker, protected at 2,500 a second with a hot set.

    Everything that is not an arena counts as the worker's own: the hot set's copies, bitmaps, page lists.
    """
    replication = {
        "checkpoint_rate_hz": 2500,
        "epoch_pages_max": EPOCH_PAGES_MAX,
        "epochs_in_flight": EPOCHS_IN_FLIGHT,
        "parts_max": PARTS_MAX,
        "hot_pages_max": HOT_PAGES_MAX,
    }
    guest = Guest(image="toucher", args=(10, 100), tracker="bitmap", replication=replication)
    async with local_pair(guest) as pair:
        await pair.start_guest()
        await pair.enter()
        await trio.sleep(SETTLE_S)
        return {
            "primary": await _resident(pair.alpha, guest.name, EPOCHS_IN_FLIGHT),
            "standby": await _resident(pair.beta, guest.name, PARTS_MAX),
        }


async def _resident(host: LocalHost, vm: str, arenas: int) -> Resident:
    smaps = Path(f"/proc/{await host.worker_pid(vm)}/smaps").read_text()
    total, guest = resident_bytes(smaps)
    return Resident(total, guest, arena_bytes(arenas))
