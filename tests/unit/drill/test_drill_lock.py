"""One drill at a time; and one that died leaves nothing that its successor does not put right."""

import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from time import monotonic

import pytest

from ftd.drill.lock import Undo, drill_lock
from ftd.drill.processes import ProcessId, identify, lives, send
from ftd.errors import ControlError, ErrorKind


@pytest.fixture
def process() -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"]) as started:
        yield started
        started.kill()


def identified(process: subprocess.Popen[bytes]) -> ProcessId:
    found = identify(process.pid)
    assert found is not None
    return found


def is_stopped(pid: int, wanted: bool) -> bool:
    """A signal takes effect in its own time."""
    until = monotonic() + 10
    while monotonic() < until:
        if (Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2][0] == "T") is wanted:
            return True
    return False


async def test_a_second_drill_is_refused(tmp_path: Path) -> None:
    async with drill_lock(tmp_path, "web", "freeze"):
        with pytest.raises(
            ControlError, match=r"another drill of VM web runs here \(freeze, pid \d+\)"
        ) as info:
            async with drill_lock(tmp_path, "web", "kill-worker"):
                raise AssertionError("it was let in")
        assert info.value.kind is ErrorKind.WRONG_STATE
        async with drill_lock(tmp_path, "other", "freeze"):
            pass
    async with drill_lock(tmp_path, "web", "freeze"):
        pass


async def test_what_a_dead_drill_left_is_found_and_undone(
    tmp_path: Path, process: subprocess.Popen[bytes]
) -> None:
    undo = Undo(thaw=identified(process))
    async with drill_lock(tmp_path, "web", "freeze") as lock:
        lock.note(undo)
        assert send(identified(process), signal.SIGSTOP)
    assert is_stopped(process.pid, True)
    async with drill_lock(tmp_path, "web", "kill-worker") as lock:
        assert lock.leftover is not None
        assert (lock.leftover.fault, lock.leftover.undo) == ("freeze", undo)
        assert await lock.leftover.undo.carry_out() == [f"thawed process {process.pid}"]
        lock.clear()
    assert is_stopped(process.pid, False)
    async with drill_lock(tmp_path, "web", "kill-worker") as lock:
        assert lock.leftover is None


async def test_a_leftover_outlives_a_drill_that_was_refused(tmp_path: Path) -> None:
    undo = Undo(thaw=ProcessId(1, 0))
    async with drill_lock(tmp_path, "web", "freeze") as lock:
        lock.note(undo)
    async with drill_lock(tmp_path, "web", "switchover"):
        pass
    async with drill_lock(tmp_path, "web", "switchover") as lock:
        assert lock.leftover is not None
        assert lock.leftover.undo == undo


async def test_a_note_that_cannot_be_read_is_no_note(tmp_path: Path) -> None:
    (tmp_path / "web.drill").write_text('{"pid": 1, "fau')
    async with drill_lock(tmp_path, "web", "freeze") as lock:
        assert lock.leftover is None


async def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    with pytest.raises(ControlError, match="must be run as root") as info:
        async with drill_lock(tmp_path / "absent", "web", "freeze"):
            pass
    assert info.value.kind is ErrorKind.PERMISSION


def test_a_number_that_was_given_away_is_not_signalled(process: subprocess.Popen[bytes]) -> None:
    other = ProcessId(process.pid, identified(process).began + 1)
    assert not lives(other)
    assert not send(other, signal.SIGKILL)
    assert process.poll() is None


def test_a_dead_process_is_not_signalled(process: subprocess.Popen[bytes]) -> None:
    known = identified(process)
    assert lives(known)
    process.kill()
    process.wait()
    assert not lives(known)
    assert not send(known, signal.SIGKILL)
    assert identify(process.pid) is None


def test_a_name_may_hold_anything(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    stat = "7 (a) Z (b) T " + " ".join(str(number) for number in range(4, 24))
    monkeypatch.setattr(Path, "read_text", lambda self: stat)
    found = identify(7)
    assert found == ProcessId(7, 22)
    assert lives(ProcessId(7, 22))
