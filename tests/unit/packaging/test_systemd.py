"""The unit is one that systemd takes as it is meant."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

UNIT = Path(__file__).resolve().parents[3] / "systemd/ftd.service"


def test_systemd_accepts_the_unit(tmp_path: Path) -> None:
    analyze = shutil.which("systemd-analyze")
    if analyze is None:
        pytest.skip("systemd-analyze is not installed")
    # verify insists that the program exists; where ftd is installed is the package's business.
    unit = tmp_path / UNIT.name
    unit.write_text(UNIT.read_text().replace("/usr/bin/ftd", sys.executable))
    checked = subprocess.run(
        [analyze, "verify", "--man=no", str(unit)], capture_output=True, text=True, check=False
    )
    assert (checked.returncode, checked.stdout + checked.stderr) == (0, "")


@pytest.mark.parametrize(
    "line",
    [
        "Type=notify",
        "KillMode=process",
        "RuntimeDirectoryPreserve=yes",
        "OOMPolicy=continue",
        "DeviceAllow=/dev/kvm rw",
        "DeviceAllow=/dev/net/tun rw",
        "RestartPreventExitStatus=2",
    ],
)
def test_guests_survive_a_restart_of_ftd(line: str) -> None:
    """Each of these, left out, costs running guests or hides an unusable configuration."""
    assert line in UNIT.read_text().splitlines()
