"""Daemons in this process, with fake workers as real processes."""

import os
import shutil
import signal
import socket
import sys
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TypeVar

import pytest
import trio

from ftd import config as configuration
from ftd import daemon, worker_process
from ftd.protocol.control import Message, Method, VmParams, WorkerStatus
from ftd.protocol.control_operator import STATUS, VM_START, ForceParams, StatusParams
from ftd.transport.client import call_unix

FAKE_WORKER = Path(__file__).with_name("fake_worker.py")
PROJECT = Path(__file__).resolve().parents[3]
PLENTY_BYTES = 64 << 30

P = TypeVar("P", bound=Message)
R = TypeVar("R", bound=Message)

HOST_FILE = """
[host]
name = "{name}"
control_listen = "127.0.0.1:{port}"
data_address = "127.0.0.1"
runtime_dir = "{runtime}"
state_dir = "{runtime}/state"
[peers.{peer}]
address = "127.0.0.1:{peer_port}"
[log]
level = "error"
"""
VM_FILE = """
name = "web"
memory_mib = 64
reprotect = false
[guest]
image = "./guest.bin"
args = [1, 2]
"""


@dataclass
class Host:
    """One ftd, started and stopped at will; its files stay."""

    config: configuration.Config
    memory_available_bytes: int = PLENTY_BYTES
    _scope: trio.CancelScope = field(default_factory=trio.CancelScope)
    _ended: trio.Event = field(default_factory=trio.Event)

    async def start(self, nursery: trio.Nursery) -> None:
        self._scope, self._ended = trio.CancelScope(), trio.Event()
        await nursery.start(self._run)

    async def stop(self) -> None:
        self._scope.cancel()
        await self._ended.wait()

    async def call(self, method: Method[P, R], params: P) -> R:
        return await call_unix(self.config.control_socket, method, params, deadline_s=30)

    async def ask(self, method: Method[VmParams, R], vm: str = "web") -> R:
        return await self.call(method, VmParams(vm=vm))

    async def start_vm(self, vm: str = "web") -> int:
        return (await self.call(VM_START, ForceParams(vm=vm))).pid

    async def worker(self, vm: str = "web") -> WorkerStatus:
        report = await self.call(STATUS, StatusParams(vm=vm))
        return report.workers[0]

    async def until_gone(self) -> None:
        """Waits until no worker is left here."""
        with trio.fail_after(10):
            while (await self.call(STATUS, StatusParams())).workers:
                await trio.sleep(0.01)

    def reconfigure(self, vm_file: str) -> None:
        """Takes effect at the next start."""
        (self.config.path.parent / "vms/web.toml").write_text(vm_file)
        self.config = configuration.load(self.config.path)

    def limit_standbys(self, max_mib: int) -> None:
        """Takes effect at the next start."""
        path = self.config.path
        path.write_text(path.read_text().replace("[host]", f"[host]\nstandby_memory_max_mib = {max_mib}"))
        self.config = configuration.load(path)

    async def _run(self, task_status: trio.TaskStatus[None]) -> None:
        try:
            with self._scope:
                await daemon.run(
                    self.config,
                    memory_available_bytes=lambda: self.memory_available_bytes,
                    task_status=task_status,
                )
        finally:
            self._ended.set()


@pytest.fixture
def fake_workers(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """Workers are fakes, and none outlives the test. Gives the pids of those that were started."""
    pids: list[int] = []
    start = worker_process.start

    def command(spec_path: Path) -> list[str]:
        return [sys.executable, str(FAKE_WORKER), "--spec", str(spec_path), "--ready-fd", "3"]

    def recorded(*args: object) -> object:
        worker, ready_read = start(*args)  # type: ignore[arg-type]
        pids.append(worker.pid)
        return worker, ready_read

    monkeypatch.setenv("PYTHONPATH", str(PROJECT))
    monkeypatch.setattr(worker_process, "worker_command", command)
    monkeypatch.setattr(worker_process, "start", recorded)
    yield pids
    for pid in pids:
        with suppress(ProcessLookupError, ChildProcessError):
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)


@pytest.fixture
def misbehave(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """How workers that are started from now on misbehave; "" for not at all."""
    return partial(monkeypatch.setenv, "FAKE_WORKER")


@pytest.fixture
def hosts(fake_workers: list[int]) -> Iterator[tuple[Host, Host]]:
    """Two configured hosts, not started. Their sockets need short paths."""
    root = Path(tempfile.mkdtemp(prefix="ftd-"))
    ports = _free_ports(2)
    pair = (
        _configured_host(root, "alpha", "beta", ports[0], ports[1]),
        _configured_host(root, "beta", "alpha", ports[1], ports[0]),
    )
    yield pair
    shutil.rmtree(root)


@pytest.fixture
async def alpha(hosts: tuple[Host, Host], nursery: trio.Nursery) -> AsyncIterator[Host]:
    await hosts[0].start(nursery)
    yield hosts[0]
    await hosts[0].stop()


@pytest.fixture
async def beta(hosts: tuple[Host, Host], nursery: trio.Nursery) -> AsyncIterator[Host]:
    await hosts[1].start(nursery)
    yield hosts[1]
    await hosts[1].stop()


def _configured_host(root: Path, name: str, peer: str, port: int, peer_port: int) -> Host:
    directory = root / name
    (directory / "vms").mkdir(parents=True)
    (directory / "vms/web.toml").write_text(VM_FILE)
    (directory / "vms/guest.bin").write_bytes(b"guest")
    path = directory / "ftd.toml"
    runtime = directory / "run"
    path.write_text(HOST_FILE.format(name=name, peer=peer, port=port, peer_port=peer_port, runtime=runtime))
    return Host(configuration.load(path))


def _free_ports(count: int) -> list[int]:
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [sock.getsockname()[1] for sock in sockets]
    for sock in sockets:
        sock.close()
    return ports
