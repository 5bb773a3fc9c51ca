"""What is looked at with the product as it is, and with faults planted in it (test_planted.py)."""

from __future__ import annotations

import ctypes
import itertools
import os
import random
import signal
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from ftd.dataplane.core import Machine
from tests.kvm.dataplane.pairs import (
    Pair,
    Setup,
    assert_goes_on,
    broken_vcpu,
    differing_pages,
    protected,
    rounds_of,
    wait_until,
)

TGKILL = 234
"""Its number among the system calls of x86-64."""
VERIFYING_TOUCHER = [20, 100, 70, 0, 1]
"""20 pages a round out of 70, each looked at before it is written."""


def assert_same_memory(pair: Pair) -> None:
    """After a drain: byte for byte."""
    differing = differing_pages(pair.active, pair.passive)
    assert not differing, f"pages differ after epoch {pair.standby.epoch}: {differing}"


def switch_over(setup: Setup, hops: int = 2) -> None:
    """A verifying toucher is drained, compared and moved to its standby, some times on end."""
    machine = setup.booted("toucher", VERIFYING_TOUCHER)
    for _ in range(hops):
        with protected(setup, machine) as pair:
            pair.wait_for_epochs(20)
            pair.drain()
            assert_same_memory(pair)
            left_at = rounds_of(pair.active)
            machine = pair.activate()
            came_on = rounds_of(machine)
            assert all(now >= was for now, was in zip(came_on, left_at, strict=True)), (left_at, came_on)
            assert_goes_on(machine)
    machine.close()


def move_between(there: Setup, here: Setup, hops: int = 3) -> None:
    """Two hosts with different trackers hand a guest to and fro."""
    machine, ways = (
        there.booted("toucher", VERIFYING_TOUCHER),
        itertools.cycle([(there, here), (here, there)]),
    )
    for _, (source, target) in zip(range(hops), ways, strict=False):
        with protected(source, machine, standby_tracker=target.tracker) as pair:
            pair.wait_for_epochs(20)
            pair.drain()
            assert_same_memory(pair)
            machine = pair.activate()
            assert_goes_on(machine)
    machine.close()


@contextmanager
def signals_to_vcpus(every_s: float = 0.0001) -> Iterator[None]:
    """Kicks all vCPU threads of this process again and again: a signal may be pending in any call."""
    libc, over = ctypes.CDLL(None), threading.Event()
    kick = signal.SIGRTMIN + 4  # VCPU_SIGNAL

    def storm() -> None:
        while not over.wait(every_s):
            for task in Path("/proc/self/task").iterdir():
                with suppress(OSError):  # ended meanwhile
                    if (task / "comm").read_text() == "vcpu\n":
                        libc.syscall(TGKILL, os.getpid(), int(task.name), kick)

    thread = threading.Thread(target=storm)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def switch_over_under_signals(setup: Setup) -> None:
    """What a signal interrupts is done to its end."""
    machine = setup.booted("toucher", [60, 0, 200, 0, 1])
    with protected(setup, machine) as pair:
        with signals_to_vcpus():
            pair.wait_for_epochs(300)
        pair.drain()
        assert_same_memory(pair)


def kill_at_random(setup: Setup, seed: int, hops: int = 3) -> None:
    """A verifying toucher's machine is killed at random moments; the standby goes on from a whole epoch."""
    moments = random.Random(seed)
    machine = setup.booted("toucher", VERIFYING_TOUCHER)
    for _ in range(hops):
        with protected(setup, machine) as pair:
            pair.wait_for_epochs(moments.randrange(1, 60))
            acked = pair.primary.acked
            if moments.random() < 0.5:
                pair.active.kill()
            else:
                pair.standby.stop()  # the primary runs on, and in vain
            pair.standby.stop()
            assert pair.standby.epoch >= acked
            assert broken_vcpu(pair.passive) is None
            machine = pair.activate()
            assert_goes_on(machine)
    machine.close()


@contextmanager
def console_of(machine: Machine) -> Iterator[socket.socket]:
    """A client of a running machine's console."""
    listener = socket.create_server(("127.0.0.1", 0))
    address = listener.getsockname()
    machine.console_listen(listener)
    with socket.create_connection(address, timeout=30) as client:
        yield client


def ask(client: socket.socket, number: int, payload: str) -> str:
    """One request to the ledger, and its answer."""
    client.sendall(f"R {number} {payload}\n".encode())
    answer = b""
    while not answer.endswith(b"\n"):
        more = client.recv(4096)
        assert more, "the console was closed"
        answer += more
    return answer.decode().strip()


def console_traffic(setup: Setup, requests: int = 120) -> None:
    """What the device model writes into guest memory is in the epoch as what the guest writes."""
    machine = setup.booted("ledger")
    with protected(setup, machine) as pair, console_of(machine) as client:
        for number in range(1, requests + 1):
            kind, answered, _ = ask(client, number, "x" * (number % 150)).split()
            assert (kind, int(answered)) == ("A", number)
        before = machine.counter("input_bytes")
        unanswered = "".join(f"R {number} {'y' * 100}\n" for number in range(requests + 1, requests + 20))
        client.sendall(unanswered.encode())
        # A drained guest stands, but its console still takes input: all of it must be in before.
        wait_until(
            lambda: machine.counter("input_bytes") == before + len(unanswered), "the guest has its input"
        )
        pair.drain()
        assert_same_memory(pair)
