"""Makes docs/drill-report.png: `tools/drill_picture.py FILE`, as root, with chromium and nft installed.

A real drill: two daemons, a ledger guest in KVM, `ftctl drill`. The page is shown by a browser, cut to its
timelines.
"""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import trio

from ftd.drill.local_pair import Guest, local_pair

FAULT = "freeze"
GUEST = Guest(name="ledger", memory_mib=256, reprotect=True, replication={"heartbeat_timeout_ms": 500})
WINDOW = "1060,1340"


async def drill(page: Path) -> None:
    """Runs it; the report is at `page`. Raises CalledProcessError when it did not pass."""
    async with local_pair(GUEST) as pair:
        await pair.start_guest()
        await pair.enter()
        await pair.wait_for_state(pair.beta, "standby")
        ftctl = [sys.executable, "-m", "ftd.ctl.main", "--socket", str(pair.alpha.control_socket)]
        await trio.run_process(
            [*ftctl, "drill", GUEST.name, "--fault", FAULT, "--yes", "--report", str(page)]
        )


def shoot(page: Path, picture: Path, folder: Path) -> None:
    """Takes the picture of the page's upper part."""
    command = ["chromium", "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars"]
    command += [f"--user-data-dir={folder / 'profile'}", f"--window-size={WINDOW}"]
    subprocess.run([*command, f"--screenshot={picture}", page.as_uri()], check=True, capture_output=True)


def main() -> None:
    """One argument: where the picture goes."""
    picture = Path(sys.argv[1]).absolute()
    if os.geteuid() != 0:
        sys.exit("a drill must be run as root")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        trio.run(drill, folder / "report.html")
        shoot(folder / "report.html", picture, folder)
    print(f"{picture}: {picture.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
