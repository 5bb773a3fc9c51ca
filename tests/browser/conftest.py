"""A real browser, without a screen: Debian's chromium. Installed by apt where that is possible."""

import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

PACKAGE = "chromium"
INSTALL_S = 420
RUN_S = 60
Browse = Callable[..., str]


@pytest.fixture(scope="session")
def chromium() -> str:
    """The program's path."""
    found = shutil.which(PACKAGE) or _installed()
    if found is None:
        pytest.skip(f"needs the Debian package {PACKAGE}, which could not be installed here")
    return found


def _installed() -> str | None:
    if os.geteuid() != 0 or shutil.which("apt-get") is None:
        return None
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    wait = ("-o", "DPkg::Lock::Timeout=300")
    for command in (["update"], ["--yes", "--no-install-recommends", "install", PACKAGE]):
        try:
            done = subprocess.run(
                ["apt-get", "-qq", *wait, *command], env=environment, check=False, timeout=INSTALL_S
            )
        except subprocess.TimeoutExpired:
            return None
        if done.returncode:
            return None
    return shutil.which(PACKAGE)


@pytest.fixture
def browse(chromium: str, tmp_path: Path) -> Browse:
    """Opens a page in a window of this width and returns its document, as it is after its scripts ran."""

    def run(page: Path, *, width: int = 1060, dark: bool = False, options: tuple[str, ...] = ()) -> str:
        command = [
            *(chromium, "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--no-first-run"),
            *(f"--user-data-dir={tmp_path / 'profile'}", f"--window-size={width},1400"),
            *(f"--blink-settings=preferredColorScheme={0 if dark else 1}", "--virtual-time-budget=2000"),
            *(options or ("--dump-dom",)),
            page.as_uri(),
        ]
        done = subprocess.run(command, capture_output=True, text=True, timeout=RUN_S, check=False)
        assert done.returncode == 0, done.stderr[-2000:]
        return done.stdout

    return run
