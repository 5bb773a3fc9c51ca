"""`ftd` as a process: check, refuse, serve, end on SIGTERM and leave guests alone."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest
import trio

from ftd.protocol.control import Nothing
from ftd.protocol.control_operator import VERSION
from tests.unit.daemon.conftest import PROJECT, Host

FTD = [sys.executable, "-m", "ftd"]


def ftd(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*FTD, *arguments], capture_output=True, text=True, cwd=PROJECT, timeout=30, check=False
    )


def test_check(hosts: tuple[Host, Host]) -> None:
    path = hosts[0].config.path
    good = ftd("--config", str(path), "--check")
    assert (good.returncode, good.stdout) == (0, f"{path}: good: host alpha, VMs: web\n")
    path.write_text(path.read_text().replace("data_address", "data_adress"))
    bad = ftd("--config", str(path), "--check")
    assert (bad.returncode, bad.stdout) == (2, "")
    assert "host.data_adress: unknown key (did you mean data_address?)" in bad.stderr


def test_what_keeps_it_from_starting_is_a_sentence(hosts: tuple[Host, Host]) -> None:
    path = hosts[0].config.path
    runtime_dir = str(hosts[0].config.runtime_dir)
    path.write_text(path.read_text().replace(runtime_dir, "/proc/nowhere"))
    result = ftd("--config", str(path))
    assert result.returncode == 2
    assert "host.runtime_dir: cannot create /proc/nowhere" in result.stderr
    assert "Traceback" not in result.stderr


async def test_address_in_use(hosts: tuple[Host, Host], alpha: Host) -> None:
    """Two hosts with one control_listen, as after a careless copy of a file."""
    beta = hosts[1].config
    path = beta.path
    path.write_text(path.read_text().replace(str(beta.control_listen), str(alpha.config.control_listen)))
    result = await trio.to_thread.run_sync(ftd, "--config", str(path))
    assert result.returncode == 2
    assert f"cannot listen on {alpha.config.control_listen}: " in result.stderr
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_ends_on_a_signal_and_leaves_workers(
    hosts: tuple[Host, Host], nursery: trio.Nursery, number: signal.Signals
) -> None:
    host = hosts[0]
    await host.start(nursery)
    worker_pid = await host.start_vm()
    await host.stop()
    process = await trio.lowlevel.open_process([*FTD, "--config", str(host.config.path)], cwd=PROJECT)
    with trio.fail_after(20):
        while not host.config.control_socket.exists():
            await trio.sleep(0.02)
        assert (await host.call(VERSION, Nothing())).host == "alpha"
        assert (await host.worker()).pid == worker_pid
        process.send_signal(number)
        assert await process.wait() == 0
    assert not host.config.control_socket.exists()
    assert Path(f"/proc/{worker_pid}").exists()
