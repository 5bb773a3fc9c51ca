"""Real daemons, workers and guests: where KVM cannot be used, none of these tests can say anything."""

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from ftd.drill.demo_kvm import check


@pytest.fixture(autouse=True)
def _kvm() -> None:
    missing = check()
    if missing is not None:
        pytest.skip(f"no usable KVM: {missing.why}")


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 4 MiB."""
    folder = tmp_path / "small"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=4m", "ftd-small", str(folder)], capture_output=True, check=False
    )
    if mounted.returncode != 0:
        pytest.skip(f"cannot mount a tmpfs: {mounted.stderr.decode().strip()}")
    yield folder
    # Lazily: a process that was killed a moment ago may hold a file yet.
    subprocess.run(["umount", "--lazy", str(folder)], check=True)
