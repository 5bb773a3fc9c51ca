"""The networks of a pair: bridges and taps in a namespace, whose own addresses are the party outside."""

import ctypes
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import Enum
from typing import Final

import trio

from lab.commands import run
from lab.errors import LabError, MissingError
from lab.host.spec import Nic

HOSTS: Final = ("alpha", "beta")
_CLONE_NEWNET: Final = 0x40000000
_OUTSIDE: Final = 254


@dataclass(frozen=True)
class Network:
    """`name` is its bridge's and begins its devices' names: with a host's name at most 15 characters."""

    name: str
    number: int

    def address(self, party: str) -> str:
        """Of a host, or of `outside`: the namespace."""
        last = _OUTSIDE if party == "outside" else HOSTS.index(party) + 1
        return f"10.0.{self.number}.{last}"

    def tap(self, host: str) -> str:
        """In the namespace; the host's own device has the network's name."""
        return f"{host}-{self.name}"

    def nic(self, host: str) -> Nic:
        """The host's end."""
        mac = f"52:54:00:00:{self.number:02x}:{HOSTS.index(host) + 1:02x}"
        return Nic(self.name, self.tap(host), mac)


REPLICATION: Final = Network("repl", 0)
"""Between the two alone: nobody outside has an address there."""
CLIENT: Final = Network("client", 1)
MANAGEMENT: Final = Network("mgmt", 2)
"""Where the arbiter is."""
QUESTIONS: Final = Network("ask", 3)
"""For the lab's own questions; never cut."""
NETWORKS: Final = (REPLICATION, CLIENT, MANAGEMENT, QUESTIONS)


class Way(Enum):
    """Which frames of a host's connection to a network a cut drops."""

    BOTH = ("from", "to")
    FROM = ("from",)
    """What the host sends."""
    TO = ("to",)
    """What the host would receive."""


class Networks:
    """The bridges of a namespace that has been made. Blocking calls of milliseconds."""

    def __init__(self, namespace: str) -> None:
        self.namespace = namespace
        self.cuts: set[str] = set()
        """What is cut, for a person: such as `repl from alpha`."""

    def make(self) -> None:
        """Makes the namespace with all that is in it. Raises MissingError without the right to."""
        if os.geteuid() != 0:
            raise MissingError("a pair of hosts needs networks of its own, which only root can make")
        run(["ip", "netns", "add", self.namespace], what="making a network namespace")
        lines = ["link set lo up"]
        for network in NETWORKS:
            lines.append(f"link add {network.name} type bridge stp_state 0 mcast_snooping 0")
            for host in HOSTS:
                lines += [
                    f"tuntap add {network.tap(host)} mode tap",
                    f"link set {network.tap(host)} master {network.name} up",
                ]
            if network is not REPLICATION:
                lines.append(f"address add {network.address('outside')}/24 dev {network.name}")
            lines.append(f"link set {network.name} up")
        self._ip(lines)
        hooks = {"from": ("prerouting", "iifname"), "to": ("postrouting", "oifname")}
        rules = ["add table bridge cut"]
        for way, (hook, device) in hooks.items():
            rules += [
                f"add set bridge cut {way} {{ type ifname; }}",
                f"add chain bridge cut {hook} {{ type filter hook {hook} priority 0; }}",
                f"add rule bridge cut {hook} {device} @{way} drop",
            ]
        self._nft(rules)

    def cut(self, network: Network, host: str, way: Way = Way.BOTH) -> None:
        """Drops frames between a host and a network, silently. Until `heal`."""
        self.cuts |= {f"{network.name} {each} {host}" for each in way.value}
        self._nft([f"add element bridge cut {each} {{ {network.tap(host)} }}" for each in way.value])

    def heal(self) -> None:
        """Ends all cuts."""
        self.cuts.clear()
        self._nft(["flush set bridge cut from", "flush set bridge cut to"])

    def command(self, *words: str) -> list[str]:
        """A command that runs as the party outside."""
        return ["ip", "netns", "exec", self.namespace, *words]

    async def connect(self, address: str, port: int) -> trio.SocketStream:
        """A TCP connection of the party outside, from this process. Raises OSError."""
        with self._entered():
            made = trio.socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        try:
            await made.connect((address, port))
        except BaseException:
            made.close()
            raise
        return trio.SocketStream(made)

    async def icmp_socket(self, address: str) -> trio.socket.SocketType:
        """A raw ICMP socket of the party outside, connected to an address. Raises OSError."""
        with self._entered():
            made = trio.socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP)
        await made.connect((address, 0))
        return made

    async def listen(self, address: str, port: int) -> trio.SocketListener:
        """Connections to an address of the party outside come to this process. Raises OSError."""
        with self._entered():
            made = trio.socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        try:
            made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            await made.bind((address, port))
            made.listen()
        except BaseException:
            made.close()
            raise
        return trio.SocketListener(made)

    @contextmanager
    def _entered(self) -> Iterator[None]:
        """This thread is in the namespace: a socket that is made there stays there. No await inside."""
        own = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        other = os.open(f"/run/netns/{self.namespace}", os.O_RDONLY | os.O_CLOEXEC)
        try:
            _setns(other)
            try:
                yield
            finally:
                _setns(own)
        finally:
            os.close(own)
            os.close(other)

    def _ip(self, lines: list[str]) -> None:
        self._batch(["ip", "-batch"], lines, "setting up the networks")

    def _nft(self, lines: list[str]) -> None:
        self._batch(["nft", "-f"], lines, "setting the networks' cuts")

    def _batch(self, program: list[str], lines: list[str], what: str) -> None:
        text = "".join(f"{line}\n" for line in lines)
        shell = f"{' '.join(program)} - <<'END'\n{text}END\n"
        run(self.command("sh", "-c", shell), what=what, nice=False)


def _setns(fd: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.setns(fd, _CLONE_NEWNET) != 0:
        error = ctypes.get_errno()
        raise LabError(f"the lab's network namespace cannot be entered: {os.strerror(error)}")
