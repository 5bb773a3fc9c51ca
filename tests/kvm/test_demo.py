"""The real demonstration: two daemons, a guest in KVM, a kill. And that nothing of it is left behind."""

import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from ftd.drill.demo_kvm import check

pytestmark = pytest.mark.timeout(100)
DEADLINE_S = 80.0


@pytest.fixture
def folder() -> Iterator[Path]:
    """Where the demonstration puts its files: short, because Unix sockets' paths have to be."""
    missing = check()
    if missing is not None:
        pytest.skip(f"no usable KVM: {missing.why}")
    with tempfile.TemporaryDirectory(prefix="ftd-demo-") as path:
        yield Path(path)


def start(folder: Path, seconds: float) -> subprocess.Popen[str]:
    # Not through `ftctl demo`: on a busy machine a heartbeat may take longer than its 100 ms.
    code = (
        "import sys; from ftd.drill.demo import main; "
        f"sys.exit(main(seconds={seconds}, rate_hz=2500, heartbeat_timeout_ms=3000))"
    )
    return subprocess.Popen(
        [sys.executable, "-c", code],
        env={**os.environ, "TMPDIR": str(folder)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def assert_nothing_is_left(folder: Path) -> None:
    assert list(folder.iterdir()) == []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                command = (entry / "cmdline").read_bytes()
            except OSError:
                continue  # ended since it was listed
            assert bytes(folder) not in command


def figures(output: str) -> dict[str, str]:
    rows = (re.split(r"  +", line.strip(), maxsplit=1) for line in output.splitlines())
    return {row[0]: row[1] for row in rows if len(row) == 2}


def test_the_guest_outlives_its_host(folder: Path) -> None:
    with start(folder, 2) as process:
        output, _ = process.communicate(timeout=DEADLINE_S)
    assert process.returncode == 0, output
    closing = figures(output)
    answered, asked = closing["requests answered"].split(" of ")
    assert answered == asked
    assert int(asked.replace(",", "")) > 100
    assert closing["requests lost"] == "0"
    assert closing["chain"].endswith("as computed here")
    assert re.fullmatch(r"[\d,]+ ms", closing["blackout, as the client saw it"])
    assert "the guest runs on beta, in generation 2" in output
    assert "asked for 2,500" in closing["acknowledged checkpoints a second"]
    assert_nothing_is_left(folder)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_one_leaves_nothing_behind(folder: Path, number: signal.Signals) -> None:
    with start(folder, 30) as process:
        assert process.stdout is not None
        watchdog = threading.Timer(DEADLINE_S, process.kill)
        watchdog.start()
        for line in process.stdout:
            if "protected:" in line:
                process.send_signal(number)
                break
        rest = process.stdout.read()
        watchdog.cancel()
    assert process.returncode == 130, rest
    assert "everything that was started has been ended" in rest
    assert_nothing_is_left(folder)
