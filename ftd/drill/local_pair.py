"""Two hosts on one machine: two daemons with folders of their own, joined over loopback.

For the demonstration, the bench and the tests. Everything is started and ended here, by process id, and lies
in one temporary folder.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import sys
import tempfile
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from subprocess import DEVNULL, STDOUT
from typing import Final, TypeVar

import trio

from ftd.errors import ControlError
from ftd.protocol import control_operator as operator
from ftd.protocol.control import (
    WORKER_FAULT,
    WORKER_STATUS,
    FaultParams,
    Message,
    Method,
    Nothing,
    VmParams,
    WorkerStatus,
)
from ftd.transport.client import call_unix
from ftd.transport.framing import TransportError

P = TypeVar("P", bound=Message)
R = TypeVar("R", bound=Message)
# One that dies is noticed at once; this is for a machine that is busy, or emulated.
READY_DEADLINE_S: Final = 60.0
END_DEADLINE_S: Final = 10.0
POLL_S: Final = 0.01


class LocalPairError(Exception):
    """A daemon did not come up; the message has the end of its log."""


@dataclass(frozen=True)
class Guest:
    """What is run; one VM file on both hosts is made from it."""

    image: str = "ledger"
    args: tuple[int, ...] = ()
    name: str = "guest"
    memory_mib: int = 256
    vcpus: int = 1
    irqchip: bool = False
    tracker: str = "auto"
    console: bool = True
    reprotect: bool = False
    """Protected again by itself: off where each step is to be seen."""
    disk_bytes: int = 0
    """0: no disk. Its image lies in each host's state_dir; beta's is made by enter."""
    replication: Mapping[str, int] = field(default_factory=dict)
    net: Mapping[str, str] = field(default_factory=dict)
    """Values of `[net]`, as TOML writes them."""

    def toml(self) -> str:
        """The VM file."""
        lines = [
            f'name = "{self.name}"',
            f"memory_mib = {self.memory_mib}",
            f"vcpus = {self.vcpus}",
            f"irqchip = {str(self.irqchip).lower()}",
            f'tracker = "{self.tracker}"',
            f"reprotect = {str(self.reprotect).lower()}",
            "[guest]",
            f'image = "{self.image}"',
            f"args = {list(self.args)}",
        ]
        if self.console:
            lines += ["[console]", f'listen = "unix:{{runtime_dir}}/{self.name}.console"']
        if self.net:
            lines += ["[net]", *(f"{key} = {value}" for key, value in self.net.items())]
        if self.disk_bytes:
            lines += ["[disk]", f'path = "{{state_dir}}/{self.name}.img"']
        if self.replication:
            lines += ["[replication]", *(f"{key} = {value}" for key, value in self.replication.items())]
        return "\n".join(lines) + "\n"


@dataclass(frozen=True)
class Place:
    """Where a host's processes run: with a network of their own, if `command` says so."""

    address: str = "127.0.0.1"
    command: tuple[str, ...] = ()
    """Put before each command, as `ip netns exec NAME`."""


class LocalHost:
    """One of the two hosts."""

    def __init__(self, name: str, folder: Path, environment: Mapping[str, str], place: Place) -> None:
        self.place = place
        self.name = name
        self.folder = folder
        self.runtime_dir = folder / "run"
        self.config = folder / "ftd.toml"
        self.log = folder / "ftd.log"
        self.control_socket = self.runtime_dir / "ctl.sock"
        self.daemon: trio.Process | None = None
        self._environment = environment

    def console(self, vm: str) -> str:
        """Address of a VM's console on this host."""
        return f"unix:{self.runtime_dir / f'{vm}.console'}"

    def image(self, vm: str) -> Path:
        """A VM's disk image on this host."""
        return self.folder / "state" / f"{vm}.img"

    def worker_socket(self, vm: str) -> Path:
        """Control socket of a VM's worker."""
        return self.runtime_dir / "workers" / f"{vm}.sock"

    def worker_log(self, vm: str) -> str:
        """All that the newest worker of a VM has logged."""
        path = self.runtime_dir / "workers" / f"{vm}.log"
        return path.read_text() if path.exists() else ""

    async def start_daemon(self) -> None:
        """Starts ftd and waits until it answers. Raises LocalPairError."""
        with self.log.open("ab") as log:
            self.daemon = await trio.lowlevel.open_process(
                [*self.place.command, sys.executable, "-m", "ftd", "--config", str(self.config)],
                stdin=DEVNULL,
                stdout=log,
                stderr=STDOUT,
                env=dict(self._environment),
            )
        with trio.move_on_after(READY_DEADLINE_S):
            while self.daemon.poll() is None:
                with suppress(ControlError, TransportError):
                    await self.call(operator.VERSION, Nothing())
                    return
                await trio.sleep(POLL_S)
        raise LocalPairError(f"ftd of {self.name} did not start: {self.log.read_text()[-2000:]}")

    async def kill_daemon(self) -> None:
        """SIGKILL."""
        await self._end_daemon(signal.SIGKILL)

    async def stop_daemon(self) -> None:
        """As `systemctl stop` does; workers live on."""
        await self._end_daemon(signal.SIGTERM)

    async def _end_daemon(self, signal_number: signal.Signals) -> None:
        if self.daemon is not None:
            daemon, self.daemon = self.daemon, None
            with suppress(ProcessLookupError):
                daemon.send_signal(signal_number)
            with trio.move_on_after(END_DEADLINE_S):
                await daemon.wait()
                return
            daemon.kill()
            await daemon.wait()

    async def call(self, method: Method[P, R], params: P, *, deadline_s: float | None = None) -> R:
        """One operator's request. Raises ControlError, TransportError."""
        return await call_unix(self.control_socket, method, params, deadline_s=deadline_s)

    async def status(self, vm: str) -> WorkerStatus | None:
        """What the worker of a VM says of itself; None when there is none that answers."""
        try:
            return await call_unix(self.worker_socket(vm), WORKER_STATUS, Nothing())
        except (ControlError, TransportError):
            return None

    async def arm_fault(self, vm: str, point: str, nth: int = 1) -> None:
        """The worker dies at the nth passage of the point."""
        await call_unix(self.worker_socket(vm), WORKER_FAULT, FaultParams(point=point, nth=nth))

    async def worker_pid(self, vm: str) -> int:
        """Process id of a VM's worker. Raises LocalPairError when there is none."""
        status = await self.status(vm)
        if status is None:
            raise LocalPairError(f"{self.name} has no worker of {vm}: {self.worker_log(vm)[-2000:]}")
        return status.pid

    def end_workers(self) -> None:
        """SIGKILL to every worker that was started below this host's folder."""
        for pid in worker_pids(self.runtime_dir):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


def worker_pids(runtime_dir: Path) -> list[int]:
    """Process ids of the workers whose spec lies below a runtime folder."""
    found, needle = [], f"{runtime_dir}/workers/".encode()
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with suppress(OSError):
                words = (entry / "cmdline").read_bytes().split(b"\0")
                if b"ftd.worker" in words and any(word.startswith(needle) for word in words):
                    found.append(int(entry.name))
    return found


class LocalPair:
    """Hosts alpha and beta, each the other's peer, with one guest configured on both."""

    def __init__(
        self,
        folder: Path,
        guest: Guest,
        environment: Mapping[str, str],
        arbiter_table: str = "",
        places: tuple[Place, Place] = (Place(), Place()),
        peer_table: str = "",
    ) -> None:
        self.folder = folder
        self.guest = guest
        self.alpha = LocalHost("alpha", folder / "alpha", environment, places[0])
        self.beta = LocalHost("beta", folder / "beta", environment, places[1])
        self.arbiter = folder / "arbiter"
        self._peer_table = peer_table
        self._arbiter_table = arbiter_table or f'kind = "local"\ndirectory = "{self.arbiter}"\n'

    @property
    def hosts(self) -> tuple[LocalHost, LocalHost]:
        return self.alpha, self.beta

    def peer_of(self, host: LocalHost) -> LocalHost:
        """The other one."""
        return self.beta if host is self.alpha else self.alpha

    @property
    def consoles(self) -> list[str]:
        """Where a client finds the guest's console, whichever host runs it."""
        return [host.console(self.guest.name) for host in self.hosts]

    def write_configuration(self) -> None:
        """Both hosts' files."""
        self.arbiter.mkdir()
        ports = _free_ports(2)
        for host, port, peer_port in zip(self.hosts, ports, reversed(ports), strict=True):
            for part in ("run", "state", "vms"):
                (host.folder / part).mkdir(parents=True)
            peer, address = self.peer_of(host), host.place.address
            host.config.write_text(
                f'vm_dir = "vms"\n[host]\nname = "{host.name}"\ncontrol_listen = "{address}:{port}"\n'
                f'data_address = "{address}"\nruntime_dir = "{host.runtime_dir}"\n'
                f'state_dir = "{host.folder / "state"}"\n[peers.{peer.name}]\n'
                f'address = "{peer.place.address}:{peer_port}"\n'
                + self._peer_table.format(peer_runtime=peer.runtime_dir)
                + f"[arbiter]\n{self._arbiter_table}"
            )
            (host.folder / "vms" / f"{self.guest.name}.toml").write_text(self.guest.toml())
        if self.guest.disk_bytes:
            with self.alpha.image(self.guest.name).open("wb") as image:
                image.truncate(self.guest.disk_bytes)

    async def start_guest(self, host: LocalHost | None = None) -> None:
        """`ftctl vm start`."""
        params = operator.ForceParams(vm=self.guest.name, force=False)
        await (host or self.alpha).call(operator.VM_START, params)

    async def enter(self, host: LocalHost | None = None) -> None:
        """`ftctl enter`: returns when the guest is protected."""
        await (host or self.alpha).call(operator.ENTER, VmParams(vm=self.guest.name))

    async def leave(self, host: LocalHost) -> None:
        """`ftctl leave`."""
        await host.call(operator.LEAVE, VmParams(vm=self.guest.name))

    async def switchover(self, host: LocalHost) -> None:
        """`ftctl switchover` on the host that runs the guest, which is protected first if it is not."""
        await host.call(operator.SWITCHOVER, VmParams(vm=self.guest.name))

    async def wait_for_state(self, host: LocalHost, *states: str, deadline_s: float = 20.0) -> WorkerStatus:
        """Polls until the guest's worker on `host` is in one of `states`. Raises LocalPairError."""
        status = None
        with trio.move_on_after(deadline_s):
            while True:
                status = await host.status(self.guest.name)
                if status is not None and status.state in states:
                    return status
                await trio.sleep(POLL_S)
        log = host.worker_log(self.guest.name)[-3000:]
        raise LocalPairError(f"{host.name} is not {' or '.join(states)} but {status and status.state}: {log}")


def _free_ports(count: int) -> list[int]:
    """Ports that nobody listens on now. All are held until all are known, so that they differ."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [sock.getsockname()[1] for sock in sockets]
    for sock in sockets:
        sock.close()
    return ports


@asynccontextmanager
async def local_pair(
    guest: Guest,
    *,
    faults: bool = False,
    arbiter_table: str = "",
    places: tuple[Place, Place] = (Place(), Place()),
    peer_table: str = "",
) -> AsyncIterator[LocalPair]:
    """Both daemons up, the guest configured and not started. Ends all processes and removes all files.

    ``places``: alpha's and beta's.
    ``arbiter_table``: what stands in `[arbiter]`; empty: lock files in a folder of the pair's own.
    ``peer_table``: more keys of `[peers.NAME]`; `{peer_runtime}` stands for the peer's runtime_dir.
    """
    folder = Path(tempfile.mkdtemp(prefix="ftd-pair-"))
    environment = {**os.environ, **({"FTD_ENABLE_FAULTS": "1"} if faults else {})}
    pair = LocalPair(folder, guest, environment, arbiter_table, places, peer_table)
    try:
        pair.write_configuration()
        for host in pair.hosts:
            await host.start_daemon()
        yield pair
    finally:
        with trio.CancelScope(shield=True):
            for host in pair.hosts:
                await host.kill_daemon()
                host.end_workers()
            shutil.rmtree(folder, ignore_errors=True)
