"""How fast the guest writes to its disk, as its own clock says."""

import re
from dataclasses import dataclass
from typing import Final

from lab.errors import LabError
from lab.outside import shell
from lab.outside.connecting import Service

_SAID: Final = re.compile(r"(\d+) bytes (\d+) ns")


@dataclass(frozen=True)
class DiskRate:
    """What `diskwrite` said."""

    written_bytes: int
    elapsed_ns: int

    @property
    def mb_per_s(self) -> float:
        """Millions of bytes a second."""
        return self.written_bytes / self.elapsed_ns * 1000


def parse(output: str) -> DiskRate:
    """Reads the output of `diskwrite`. Raises LabError with what it said instead."""
    found = _SAID.search(output)
    if found is None or int(found[2]) == 0:
        raise LabError(f"the guest's diskwrite gave no rate: {output.strip()!r}")
    return DiskRate(int(found[1]), int(found[2]))


async def measure(
    service: Service, *, mib: int, block_kib: int, sync: bool = False, timeout_s: float = 300.0
) -> DiskRate:
    """Writes `mib` MiB past the guest's page cache, over the guest's shell port. Raises LabError."""
    command = f"diskwrite /root/diskwrite.tmp {mib} {block_kib}{' sync' if sync else ''}"
    said = await shell.run(service, command, timeout_s=timeout_s)
    if said.status != 0:
        raise LabError(f"the guest's `{command}` ended with {said.status}: {said.output.strip()}")
    return parse(said.output)
