"""Whether this host has the memory for one more guest: asked before its worker is started."""

from collections.abc import Callable, Iterable
from pathlib import Path

from ftd.errors import ControlError, ErrorKind
from ftd.limits import HOST_RESERVE_BYTES

AvailableBytes = Callable[[], int]


def available_bytes(meminfo: Path = Path("/proc/meminfo")) -> int:
    """What the kernel estimates a new process may use without swapping."""
    for line in meminfo.read_text().splitlines():
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) << 10
    raise ControlError(ErrorKind.INTERNAL, f"{meminfo} has no MemAvailable")


def check_available(host: str, vm: str, needed_bytes: int, have_bytes: int) -> None:
    """Raises ControlError(MEMORY) when a guest does not fit what the host has left."""
    if needed_bytes + HOST_RESERVE_BYTES > have_bytes:
        raise ControlError(
            ErrorKind.MEMORY,
            f"host {host} has too little memory for VM {vm}: it needs {_mib(needed_bytes)}, "
            f"{_mib(have_bytes)} are available of which {_mib(HOST_RESERVE_BYTES)} stay reserved",
        )


def check_standby_limit(
    host: str, vm: str, needed_bytes: int, held_bytes: Iterable[int], max_mib: int
) -> None:
    """Raises ControlError(MEMORY) when standbys would exceed `standby_memory_max_mib` (0: no limit)."""
    held = sum(held_bytes)
    if max_mib and held + needed_bytes > max_mib << 20:
        raise ControlError(
            ErrorKind.MEMORY,
            f"host {host} may hold {max_mib} MiB of standbys (host.standby_memory_max_mib): "
            f"it holds {_mib(held)}, and VM {vm} needs {_mib(needed_bytes)}",
        )


def _mib(count_bytes: int) -> str:
    return f"{count_bytes >> 20} MiB"
