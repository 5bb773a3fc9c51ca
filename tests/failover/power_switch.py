"""A fence agent for hosts of `local_pair`: `off` kills all workers below the folder that it is given.

It speaks the conventions of the fence-agents package. Option `stuck=yes`: it says that it did, and does
nothing.
"""

import os
import signal
import sys
from pathlib import Path

from ftd.drill.local_pair import worker_pids


def main() -> int:
    options = dict(line.strip().partition("=")[::2] for line in sys.stdin)
    runtime_dir, action = Path(options["plug"]), options["action"]
    with Path(options["log"]).open("a") as log:
        log.write(f"{action} {runtime_dir.parent.name}\n")
    if action == "off" and options.get("stuck") != "yes":
        for pid in worker_pids(runtime_dir):
            os.kill(pid, signal.SIGKILL)
    if action == "status":
        return 0 if any(not ended(pid) for pid in worker_pids(runtime_dir)) else 2
    return 0


def ended(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2][0] in "ZX"
    except FileNotFoundError:
        return True


if __name__ == "__main__":
    sys.exit(main())
