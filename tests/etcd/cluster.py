"""Real members of a real cluster, on loopback: started, frozen, killed, started again with what they kept."""

from __future__ import annotations

import random
import socket
import subprocess
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final

import msgspec
import trio

from ftd.arbiter.contract import ArbiterUnreachable
from ftd.arbiter.etcd.arbiter import EtcdArbiter
from ftd.arbiter.etcd.http import connected
from ftd.protocol.control import EndpointSpec, EtcdSpec, EtcdTlsSpec
from tests.failover.processes import freeze, thaw

# A busy machine holds elections that nobody needed, but it does not fail for them.
TIMES: Final = ("--heartbeat-interval", "100", "--election-timeout", "500")
READY_DEADLINE_S: Final = 30.0
POLL_S: Final = 0.05
PORTS_TRIED: Final = 10_000
LOG_CHARACTERS: Final = 2000
NOBODYS_VM: Final = "00000000-0000-0000-0000-000000000000"


class Member:
    """One member. ``port`` is the one for clients."""

    def __init__(self, program: Path, name: str, folder: Path, port: int, peer_port: int) -> None:
        self.port = port
        self.peer = f"{name}=http://127.0.0.1:{peer_port}"
        self.endpoint = EndpointSpec(host="127.0.0.1", port=port)
        self._program = program
        self._name = name
        self._folder = folder
        self._peer_url = f"http://127.0.0.1:{peer_port}"
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        """Of the process that runs."""
        assert self._process is not None
        return self._process.pid

    def start(self, cluster: str, tls: Mapping[str, Path]) -> None:
        """Starts the process if it does not run. ``cluster``: the peers of all members."""
        if self._process is not None:
            return
        client_url = f"{'https' if tls else 'http'}://127.0.0.1:{self.port}"
        with (self._folder / f"{self._name}.log").open("ab") as log:
            self._process = subprocess.Popen(
                [
                    *(self._program, "--name", self._name, "--data-dir", self._folder / self._name),
                    *("--listen-client-urls", client_url, "--advertise-client-urls", client_url),
                    *("--listen-peer-urls", self._peer_url, "--initial-advertise-peer-urls", self._peer_url),
                    *("--initial-cluster", cluster, "--logger", "zap", "--log-level", "warn", *TIMES),
                    *(word for option, path in tls.items() for word in (option, path)),
                    *(("--client-cert-auth",) if tls else ()),
                ],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )

    def log(self) -> str:
        """The end of what it said."""
        return (self._folder / f"{self._name}.log").read_text()[-LOG_CHARACTERS:]

    def kill(self) -> None:
        """SIGKILL; returns when it has ended."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def freeze(self) -> None:
        """SIGSTOP; returns when it stands."""
        freeze(self.pid)

    def thaw(self) -> None:
        """SIGCONT."""
        if self._process is not None:
            thaw(self._process.pid)

    async def status(self) -> dict[str, Any]:
        """What the member says of itself, without asking the others."""
        async with connected("127.0.0.1", self.port, None) as connection:
            _, body = await connection.post("/v3/maintenance/status", b"{}")
        answer: dict[str, Any] = msgspec.json.decode(body)
        return answer

    async def leads(self) -> bool:
        """Whether it takes itself for the leader."""
        status = await self.status()
        return bool(status.get("leader") == status["header"]["member_id"])


class Cluster:
    """All members; each is well at the beginning of a test, after ``heal``."""

    def __init__(self, program: Path, folder: Path, size: int, tls: Mapping[str, Path] | None = None) -> None:
        ports = free_ports(2 * size)
        self.members = [
            Member(program, f"member{index}", folder, ports[2 * index], ports[2 * index + 1])
            for index in range(size)
        ]
        self._tls = tls or {}

    def start(self) -> None:
        """Starts and thaws all members."""
        for member in self.members:
            member.thaw()
            member.start(",".join(each.peer for each in self.members), self._tls)

    async def heal(self) -> None:
        """As `start`; returns when each of the members answers."""
        self.start()
        for member in self.members:
            try:
                await answers(self.arbiter("/heal/", [member]))
            except trio.TooSlowError as error:
                error.add_note(member.log())
                raise

    def end(self) -> None:
        """SIGKILL to all."""
        for member in self.members:
            member.kill()

    def spec(
        self,
        prefix: str,
        members: Iterable[Member] | None = None,
        *,
        timeout_ms: int = 5000,
        tls: EtcdTlsSpec | None = None,
    ) -> EtcdSpec:
        """How an arbiter asks these members, or all; in this order."""
        endpoints = [member.endpoint for member in members or self.members]
        return EtcdSpec(endpoints=endpoints, prefix=prefix, timeout_ms=timeout_ms, tls=tls)

    def arbiter(
        self, prefix: str, members: Iterable[Member] | None = None, *, timeout_ms: int = 5000
    ) -> EtcdArbiter:
        """An arbiter that asks these members, or all; in this order."""
        return EtcdArbiter(self.spec(prefix, members, timeout_ms=timeout_ms))

    async def leader(self) -> Member:
        """The member that leads. All must be well."""
        with trio.fail_after(READY_DEADLINE_S):
            while True:
                for member in self.members:
                    if await member.leads():
                        return member
                await trio.sleep(POLL_S)

    async def followers(self) -> list[Member]:
        """The others."""
        leader = await self.leader()
        return [member for member in self.members if member is not leader]


async def answers(arbiter: EtcdArbiter) -> None:
    """Waits until the arbiter answers. Raises trio.TooSlowError."""
    with trio.fail_after(READY_DEADLINE_S):
        while True:
            try:
                await arbiter.read(NOBODYS_VM)
                return
            except ArbiterUnreachable:
                await trio.sleep(POLL_S)


@contextmanager
def running(program: Path, folder: Path, size: int) -> Iterator[Cluster]:
    """A cluster whose processes end with the block."""
    cluster = Cluster(program, folder, size)
    try:
        trio.run(cluster.heal)
        yield cluster
    finally:
        cluster.end()


def free_ports(count: int) -> list[int]:
    """Ports that nobody listens on now, and that the kernel gives to no outgoing connection.

    It would give the port of a member that is away to those who try to reach it, and that one could not start
    again.
    """
    first_outgoing = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    found: list[int] = []
    for port in random.sample(range(first_outgoing - PORTS_TRIED, first_outgoing), PORTS_TRIED):
        with suppress(OSError), socket.create_server(("127.0.0.1", port)):
            found.append(port)
        if len(found) == count:
            return found
    raise AssertionError(f"of {PORTS_TRIED} ports below {first_outgoing} no {count} are free")
