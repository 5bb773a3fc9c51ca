"""A network of its own for two hosts and a client: namespaces, a switch between bridges, a replication link.

out:    bridge `switch`, 10.77.0.100        client
         |               |
alpha:  bridge `lan0`   beta: bridge `lan0`           the guest's taps
        `repl` 10.78.0.1 ------- `repl` 10.78.0.2     the daemons
"""

from __future__ import annotations

import ctypes
import itertools
import json
import os
import socket
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import Thread
from typing import Any, Final, TypeVar

from ftd.drill.local_pair import Place

BRIDGE: Final = "lan0"
SWITCH: Final = "switch"
CLIENT_ADDRESS: Final = "10.77.0.100"
GUEST_ADDRESS: Final = "10.77.0.50"
ETH_P_ALL: Final = 0x0003
CLONE_NEWNET: Final = 0x40000000
T = TypeVar("T")
_numbers = itertools.count()


def ip(*arguments: str) -> str:
    """The command of that name. Raises AssertionError with what it said."""
    done = subprocess.run(["ip", *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"ip {' '.join(arguments)}: {done.stderr}"
    return done.stdout


@dataclass(frozen=True)
class Lan:
    """Names of the three namespaces."""

    out: str
    alpha: str
    beta: str

    @property
    def places(self) -> tuple[Place, Place]:
        """Where the two hosts run."""
        return (
            Place("10.78.0.1", ("ip", "netns", "exec", self.alpha)),
            Place("10.78.0.2", ("ip", "netns", "exec", self.beta)),
        )

    def links(self, namespace: str) -> set[str]:
        """Names of all interfaces."""
        return {link["ifname"] for link in json.loads(ip("-json", "-n", namespace, "link", "show"))}

    def link(self, namespace: str, name: str) -> Any:
        """All that `ip -details` says of an interface."""
        return json.loads(ip("-json", "-details", "-n", namespace, "link", "show", name))[0]

    def port_of(self, mac: str) -> str | None:
        """The port on which the switch outside thinks this address is."""
        shown = subprocess.run(
            ["bridge", "-json", "-n", self.out, "fdb", "show", "br", SWITCH],
            capture_output=True,
            text=True,
            check=True,
        )
        return next((str(row["ifname"]) for row in json.loads(shown.stdout) if row["mac"] == mac), None)

    def udp_socket(self) -> socket.socket:
        """The client's."""

        def make() -> socket.socket:
            made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            made.bind((CLIENT_ADDRESS, 0))
            return made

        return inside(self.out, make)

    def raw_socket(self, interface: str = SWITCH) -> socket.socket:
        """Sees every frame on an interface outside."""

        def make() -> socket.socket:
            made = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_ALL))
            made.bind((interface, ETH_P_ALL))
            return made

        return inside(self.out, make)


def inside(namespace: str, call: Callable[[], T]) -> T:
    """Calls in a network namespace, on a thread of its own: a socket stays where it was made."""
    results: list[T] = []
    failures: list[OSError] = []

    def run() -> None:
        libc = ctypes.CDLL(None, use_errno=True)
        with Path(f"/run/netns/{namespace}").open() as file:
            if libc.setns(file.fileno(), CLONE_NEWNET) != 0:
                failures.append(OSError(ctypes.get_errno(), f"setns {namespace}"))
                return
        try:
            results.append(call())
        except OSError as error:
            failures.append(error)

    thread = Thread(target=run)
    thread.start()
    thread.join()
    if failures:
        raise failures[0]
    return results[0]


def missing() -> str | None:
    """Why there can be no such network here; None if there can."""
    if os.geteuid() != 0:
        return "network namespaces take root"
    if not Path("/dev/net/tun").exists():
        return "no /dev/net/tun"
    for command in ("ip", "bridge"):
        try:
            subprocess.run([command, "-V"], capture_output=True, check=True)
        except FileNotFoundError:
            return f"no {command}: install iproute2"
    return None


@contextmanager
def lan() -> Iterator[Lan]:
    """Made, and removed at the end with all that is in it."""
    tag = f"ftd{os.getpid()}-{next(_numbers)}"
    made = Lan(f"{tag}-out", f"{tag}-alpha", f"{tag}-beta")
    try:
        for namespace in (made.out, made.alpha, made.beta):
            ip("netns", "add", namespace)
            ip("-n", namespace, "link", "set", "lo", "up")
        _make_switch(made)
        ip(
            "-n",
            made.alpha,
            "link",
            "add",
            "repl",
            "type",
            "veth",
            "peer",
            "name",
            "repl",
            "netns",
            made.beta,
        )
        for number, namespace in enumerate((made.alpha, made.beta), start=1):
            ip("-n", namespace, "address", "add", f"10.78.0.{number}/24", "dev", "repl")
            ip("-n", namespace, "link", "set", "repl", "up")
        yield made
    finally:
        for namespace in (made.out, made.alpha, made.beta):
            subprocess.run(["ip", "netns", "del", namespace], capture_output=True, check=False)


def _make_switch(made: Lan) -> None:
    _make_bridge(made.out, SWITCH)
    ip("-n", made.out, "address", "add", f"{CLIENT_ADDRESS}/24", "dev", SWITCH)
    for host, namespace in (("alpha", made.alpha), ("beta", made.beta)):
        _make_bridge(namespace, BRIDGE)
        ip("-n", made.out, "link", "add", host, "type", "veth", "peer", "name", "up0", "netns", namespace)
        ip("-n", made.out, "link", "set", host, "master", SWITCH, "up")
        ip("-n", namespace, "link", "set", "up0", "master", BRIDGE, "up")


def _make_bridge(namespace: str, name: str) -> None:
    ip("-n", namespace, "link", "add", name, "type", "bridge")
    ip("-n", namespace, "link", "set", name, "up")
