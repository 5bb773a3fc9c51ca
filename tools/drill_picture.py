"""Makes docs/drill-report.png: `tools/drill_picture.py FILE`, as root, with chromium installed.

A real drill on two hosts of the lab. The page is shown by a browser, cut to its timelines.
"""

import subprocess
import sys
import tempfile
from pathlib import Path

FAULT = "power-off"
WINDOW = "1060,1340"


def drill(page: Path) -> None:
    """Runs it; the report is at `page`. Raises CalledProcessError when it did not pass."""
    subprocess.run([sys.executable, "-m", "lab", "drill", "--fault", FAULT, "--report", page], check=True)


def shoot(page: Path, picture: Path, folder: Path) -> None:
    """Takes the picture of the page's upper part."""
    command = ["chromium", "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars"]
    command += [f"--user-data-dir={folder / 'profile'}", f"--window-size={WINDOW}"]
    subprocess.run([*command, f"--screenshot={picture}", page.as_uri()], check=True, capture_output=True)


def main() -> None:
    """One argument: where the picture goes."""
    picture = Path(sys.argv[1]).absolute()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        drill(folder / "report.html")
        shoot(folder / "report.html", picture, folder)
    print(f"{picture}: {picture.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
