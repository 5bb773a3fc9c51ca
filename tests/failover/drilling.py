"""`ftctl drill`, run as an operator runs it: a process of its own, in the network that both hosts share."""

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any, Final

import pytest
import trio

from ftd.drill.local_pair import Guest, LocalHost, LocalPair, Place, local_pair, worker_pids

# A drill's rules of nftables stay in it.
NETWORK: Final = f"ftd-drill-{os.getpid()}"
INSIDE: Final = ("ip", "netns", "exec", NETWORK)
HERE: Final = Place(command=INSIDE)
GUEST: Final = Guest(
    memory_mib=64, reprotect=True, replication={"checkpoint_rate_hz": 500, "heartbeat_timeout_ms": 2000}
)
DEADLINE_S: Final = 80.0
# A busy machine, with the heartbeat timeout of GUEST. What a drill measures is not judged here.
PATIENCE: Final = ("--blackout-max-ms", "30000", "--hold", "2")


@contextmanager
def network() -> Iterator[None]:
    """A network namespace with nothing but loopback."""
    if os.geteuid() != 0 or shutil.which("nft") is None:
        pytest.skip("needs root and the Debian package nftables")
    for command in (["netns", "add", NETWORK], ["-n", NETWORK, "link", "set", "lo", "up"]):
        subprocess.run(["ip", *command], check=True)
    try:
        yield
    finally:
        subprocess.run(["ip", "netns", "del", NETWORK], check=True)


def tables() -> str:
    """What is left of rules."""
    listed = [*INSIDE, "nft", "list", "tables"]
    return subprocess.run(listed, check=True, capture_output=True, text=True).stdout


class Ftctl:
    """One running `ftctl drill`. Its lines are kept as they come."""

    def __init__(self, process: trio.Process) -> None:
        self.process = process
        self.said = ""
        self._more = trio.Event()

    async def read(self) -> None:
        """Until it ends."""
        assert self.process.stdout is not None
        async for data in self.process.stdout:
            self.said += data.decode()
            self._more.set()
            self._more = trio.Event()

    async def says(self, text: str) -> None:
        """Waits for it."""
        with trio.fail_after(DEADLINE_S):
            while text not in self.said:
                await self._more.wait()

    async def ends(self) -> int:
        """Its exit code."""
        with trio.fail_after(DEADLINE_S):
            return await self.process.wait()

    async def interrupted(self, number: signal.Signals) -> int:
        """Sends the signal and waits for the end."""
        self.process.send_signal(number)
        return await self.ends()


class Ground:
    """Two hosts in a network of their own, the guest protected; and drills on them."""

    def __init__(self, pair: LocalPair, nursery: trio.Nursery) -> None:
        self.pair = pair
        self.alpha = pair.alpha
        self.beta = pair.beta
        self.reports = pair.folder / "reports"
        self._nursery = nursery

    async def start(self, fault: str, *options: str, host: LocalHost | None = None, vm: str = "") -> Ftctl:
        """`ftctl drill VM --fault FAULT` with these options, and what every test here needs."""
        control = (host or self.alpha).control_socket
        command = [*INSIDE, sys.executable, "-m", "ftd.ctl.main", "--socket", str(control), "drill"]
        process = await trio.lowlevel.open_process(
            [*command, vm or self.pair.guest.name, "--fault", fault, *PATIENCE, *options],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        started = Ftctl(process)
        self._nursery.start_soon(started.read)
        return started

    async def drill(self, fault: str, *options: str) -> tuple[int, str, dict[str, Any]]:
        """To its end, with a report: exit code, what was said, and what the JSON says."""
        path = self.reports / f"{fault}.html"
        running = await self.start(fault, "--yes", "--report", str(path), *options)
        code = await running.ends()
        await running.says("\n")
        data = path.with_suffix(".json")
        return code, running.said, json.loads(data.read_text()) if data.exists() else {}

    async def supervise(self, host: LocalHost) -> None:
        """Starts the host's daemon again when it has died, as systemd does."""
        while True:
            assert host.daemon is not None
            await host.daemon.wait()
            await host.start_daemon()

    async def undisturbed(self) -> None:
        """As in the beginning: alpha runs the guest in its first generation, beta protects it."""
        here = await self.pair.wait_for_state(self.alpha, "protected")
        there = await self.pair.wait_for_state(self.beta, "standby")
        assert (here.generation, there.generation) == (1, 1)
        assert "ftd_drill" not in tables()

    async def alpha_pid(self) -> int:
        """Of the worker there, also of one that is stopped and does not answer."""
        [pid] = worker_pids(self.alpha.runtime_dir)
        return pid

    def left(self) -> list[Path]:
        """Notes that a drill has left for its successor."""
        found = [path for host in self.pair.hosts for path in host.runtime_dir.glob("*.drill")]
        return [path for path in found if b"undo" in path.read_bytes()]


@asynccontextmanager
async def ground(
    guest: Guest = GUEST, *, protected: bool = True, peer_table: str = ""
) -> AsyncIterator[Ground]:
    """Everything is ended and removed at the end."""
    with network():
        async with local_pair(guest, places=(HERE, HERE), peer_table=peer_table) as pair:
            try:
                async with trio.open_nursery() as nursery:
                    found = Ground(pair, nursery)
                    await pair.start_guest()
                    if protected:
                        await pair.enter()
                        await pair.wait_for_state(pair.beta, "standby")
                    yield found
                    nursery.cancel_scope.cancel()
            except Exception as error:
                for host in pair.hosts:
                    error.add_note(f"---- {host.name}\n{host.worker_log(guest.name)[-3000:]}")
                raise
