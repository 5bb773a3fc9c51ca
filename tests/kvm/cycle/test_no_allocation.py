"""Promise: nothing allocates in the cycle. An interposer counts the allocations of every native thread."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.kvm.trackers import needs

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[2]
EPOCHS = 10_000


@pytest.fixture(scope="module")
def interposer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    library = tmp_path_factory.mktemp("interposer") / "count_allocations.so"
    command = [
        "gcc",
        "-std=gnu11",
        "-O2",
        "-Wall",
        "-Wextra",
        "-Werror",
        "-shared",
        "-fPIC",
        "-o",
        str(library),
    ]
    subprocess.run([*command, str(HERE / "count_allocations.c")], check=True)
    return library


@pytest.mark.parametrize(
    ("tracker", "hot_pages"),
    [
        pytest.param(tracker, hot_pages, marks=needs(tracker))
        for tracker, hot_pages in (("mt", 0), ("mt", 256), ("ring", 0), ("bitmap", 256))
    ],
)
def test_no_native_thread_allocates(interposer: Path, tracker: str, hot_pages: int) -> None:
    environment = {**os.environ, "LD_PRELOAD": str(interposer), "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "tests.kvm.cycle.allocation_run", tracker, str(hot_pages), str(EPOCHS)]
    done = subprocess.run(command, env=environment, cwd=ROOT, capture_output=True, text=True, timeout=100)
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert report["epochs"] >= EPOCHS
    # The interposer sees: starting the pair allocated, on threads of Python's and on native ones.
    assert report["before"]["main"] > 0
    assert report["during"] == dict.fromkeys(("vcpu", "sender", "io", "heartbeat", "receiver"), 0)
