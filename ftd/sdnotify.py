"""Tells systemd how the service is: sd_notify(3), without a library for four datagrams."""

import os
import socket
from collections.abc import Mapping

import trio

from ftd.log import get_logger

log = get_logger(__name__)


class Notifier:
    """Sends to the socket that systemd named in the environment; without one, does nothing."""

    def __init__(self, environment: Mapping[str, str] = os.environ) -> None:
        self._address = environment.get("NOTIFY_SOCKET", "")
        if self._address.startswith("@"):
            self._address = "\0" + self._address[1:]
        ours = environment.get("WATCHDOG_PID", str(os.getpid())) == str(os.getpid())
        self.watchdog_interval_s = int(environment.get("WATCHDOG_USEC", "0")) / 1e6 / 2 if ours else 0.0
        """Half of what systemd allows between two signs of life; 0: it expects none."""

    def ready(self, status: str) -> None:
        """Start-up is done."""
        self._send(f"READY=1\nSTATUS={status}")

    def status(self, status: str) -> None:
        """One line for `systemctl status`."""
        self._send(f"STATUS={status}")

    def stopping(self) -> None:
        """Shutdown has begun."""
        self._send("STOPPING=1")

    async def feed_watchdog(self) -> None:
        """Runs for ever, on the loop that it vouches for."""
        while self.watchdog_interval_s:
            self._send("WATCHDOG=1")
            await trio.sleep(self.watchdog_interval_s)

    def _send(self, message: str) -> None:
        if not self._address:
            return
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as sock:
                sock.sendto(message.encode(), self._address)
        except OSError as error:
            log.warning("systemd could not be told", message=message, error=str(error))
