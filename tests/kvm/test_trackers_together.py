"""At once on one host: two VMs under memory tracking, another program's under dirty log and dirty ring."""

from __future__ import annotations

import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.kvm.dataplane.pairs import Setup, assert_goes_on, protected
from tests.kvm.dataplane.scenarios import assert_same_memory
from tests.kvm.trackers import needs

ROOT = Path(__file__).resolve().parents[2]
OTHERS = """
import sys
from tests.kvm.dataplane.pairs import Setup
from tests.kvm.dataplane.scenarios import switch_over
print("begun", flush=True)
switch_over(Setup(tracker=sys.argv[1], rate_hz=100), hops=1)
"""
pytestmark = [needs("mt"), needs("ring"), needs("bitmap"), pytest.mark.timeout(400)]


def start(tracker: str) -> subprocess.Popen[str]:
    """Another program with a VM of its own; it ends with 0 if its standby had the same memory."""
    process = subprocess.Popen(
        [sys.executable, "-c", OTHERS, tracker],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "begun\n"
    return process


def test_none_disturbs_another() -> None:
    plain, hot = Setup(tracker="mt", rate_hz=100), Setup(tracker="mt", rate_hz=100, vcpus=2, hot_pages_max=64)
    with ExitStack() as stack:
        pairs = [
            stack.enter_context(protected(setup, setup.booted("toucher", [20, 100, 70, 0, 1])))
            for setup in (plain, hot)
        ]
        for tracker in ("bitmap", "ring"):
            with start(tracker) as other:
                for pair in pairs:
                    pair.wait_for_epochs(20)
                output, _ = other.communicate(timeout=300)
                assert other.returncode == 0, output
        for pair in pairs:
            pair.wait_for_epochs(5)
            pair.drain()
            assert_same_memory(pair)
            moved = pair.activate()
            assert_goes_on(moved)
            moved.close()
