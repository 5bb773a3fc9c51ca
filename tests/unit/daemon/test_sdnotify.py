"""What systemd is told."""

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
import trio

from ftd.sdnotify import Notifier


@pytest.fixture
def systemd(tmp_path: Path) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.bind(str(tmp_path / "notify"))
        sock.setblocking(False)
        yield sock


def heard(systemd: socket.socket) -> list[bytes]:
    messages = []
    while True:
        try:
            messages.append(systemd.recv(4096))
        except BlockingIOError:
            return messages


def test_life_of_a_service(systemd: socket.socket) -> None:
    notifier = Notifier({"NOTIFY_SOCKET": systemd.getsockname()})
    notifier.ready("no VM runs")
    notifier.status("1 VMs: web")
    notifier.stopping()
    assert heard(systemd) == [b"READY=1\nSTATUS=no VM runs", b"STATUS=1 VMs: web", b"STOPPING=1"]


async def test_watchdog_is_fed_twice_in_its_time(
    systemd: socket.socket, autojump_clock: trio.testing.MockClock
) -> None:
    environment = {"NOTIFY_SOCKET": systemd.getsockname(), "WATCHDOG_USEC": "10000000"}
    with trio.move_on_after(29):
        await Notifier(environment).feed_watchdog()
    assert heard(systemd) == [b"WATCHDOG=1"] * 6


@pytest.mark.parametrize("environment", [{}, {"WATCHDOG_USEC": "10", "WATCHDOG_PID": str(os.getpid() + 1)}])
async def test_without_systemd_nothing_is_done(environment: dict[str, str]) -> None:
    notifier = Notifier(environment)
    notifier.ready("")
    await notifier.feed_watchdog()


def test_abstract_address() -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.bind("\0ftd-test-notify")
        Notifier({"NOTIFY_SOCKET": "@ftd-test-notify"}).stopping()
        assert sock.recv(100) == b"STOPPING=1"


def test_systemd_gone_is_no_reason_to_stop(tmp_path: Path) -> None:
    Notifier({"NOTIFY_SOCKET": str(tmp_path / "none")}).stopping()
