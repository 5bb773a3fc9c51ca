"""What is said of a host in maintenance, by operators and between daemons."""

from typing import Literal

from ftd.protocol.control import Message, Name


class Moved(Message, frozen=True, kw_only=True):
    """One VM that was on the host."""

    vm: str
    gone: bool
    how: str
    """Where it is now, or why it is still there."""


class MaintenanceParams(Message, frozen=True, kw_only=True):
    """`begin` moves everything off the host and keeps it off, until `end`."""

    host: Name
    action: Literal["begin", "end"]


class MaintenanceReport(Message, frozen=True, kw_only=True):
    """What was done."""

    vms: list[Moved]
    note: str = ""
    """What an operator has to know besides."""
