"""EIO, ENOSPC and short writes: the guest is told of its own disk's, and a standby's end protection."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest

HERE: Final = Path(__file__).parent
ROOT: Final = HERE.parents[2]


@pytest.fixture(scope="session")
def broken_disk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    library = tmp_path_factory.mktemp("broken") / "broken_disk.so"
    source = HERE / "broken_disk.c"
    subprocess.run(["gcc", "-shared", "-fPIC", "-O1", "-o", str(library), str(source), "-ldl"], check=True)
    return library


@pytest.mark.parametrize(
    ("scenario", "disk"),
    [
        ("guest-is-told", "active"),
        ("unreadable-at-enter", "active"),
        ("standby-write", "waiting"),
        ("standby-short", "waiting"),
        ("standby-flush", "waiting"),
    ],
)
def test_scenario(broken_disk: Path, tmp_path: Path, scenario: str, disk: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tests.kvm.disk.breaking", scenario, str(tmp_path)],
        env={
            **os.environ,
            "LD_PRELOAD": str(broken_disk),
            "FTD_BROKEN_DISK": str(tmp_path / f"{disk}.img"),
            "FTD_BROKEN_SWITCH": str(tmp_path / "switch"),
        },
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=110,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
