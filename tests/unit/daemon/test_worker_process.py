"""What a worker process is given, and what is kept from others."""

from pathlib import Path

from ftd import worker_process
from tests.unit.daemon.conftest import Host


def test_workers_do_not_speak_to_systemd_in_ftds_name() -> None:
    environment = {"NOTIFY_SOCKET": "/n", "WATCHDOG_USEC": "1", "WATCHDOG_PID": "1", "FTD_ENABLE_FAULTS": "1"}
    assert worker_process.worker_environment(environment) == {"FTD_ENABLE_FAULTS": "1"}


async def test_a_worker_has_a_session_of_its_own_and_no_descriptors_of_ftd(alpha: Host) -> None:
    process = Path(f"/proc/{await alpha.start_vm()}")
    session = process.joinpath("stat").read_text().rpartition(")")[2].split()[3]
    assert session == process.name
    opened = {fd.name: str(fd.readlink()) for fd in process.joinpath("fd").iterdir()}
    assert (opened["0"], opened["1"], opened["2"]) == (
        "/dev/null",
        *[str(alpha.config.workers_dir / "web.log")] * 2,
    )
    assert str(alpha.config.control_socket) not in opened.values()


async def test_secrets_are_ftds_alone(alpha: Host) -> None:
    await alpha.start_vm()
    workers_dir = alpha.config.workers_dir
    assert workers_dir.stat().st_mode & 0o777 == 0o700
    assert (workers_dir / "web.spec").stat().st_mode & 0o777 == 0o600
    assert alpha.config.control_socket.stat().st_mode & 0o777 == 0o660


def test_log_tail(tmp_path: Path) -> None:
    log = tmp_path / "log"
    assert worker_process.log_tail(log) == "(no log: No such file or directory)"
    log.write_text("")
    assert worker_process.log_tail(log) == "(nothing)"
    log.write_bytes(b"1\n2\n3\n4\n5\n\xff6\n")
    assert worker_process.log_tail(log) == "2 | 3 | 4 | 5 | \N{REPLACEMENT CHARACTER}6"
    log.write_text("x" * 5000)
    assert len(worker_process.log_tail(log)) == worker_process.LOG_TAIL_CHARACTERS
