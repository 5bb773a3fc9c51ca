"""Observers outside: they ask the guest all the time, by one of three ways, and keep a tally.

console          the ledger's protocol on the guest's console, wherever that listens; judges every answer
tcp:HOST:PORT    opens connections to the guest's address and closes them
echo:HOST:PORT   one connection, numbered lines, each of which must come back once and in order
"""

from collections.abc import Sequence

from ftd.drill.ledger import connector_of
from ftd.drill.probe import Probe
from ftd.drill.probe_ledger import LedgerProbe
from ftd.drill.probe_tcp import ConnectProbe, EchoProbe
from ftd.errors import ControlError, ErrorKind


def make(text: str, consoles: Sequence[str]) -> Probe:
    """From what the command line says. Raises ControlError(BAD_REQUEST)."""
    if text == "console":
        return LedgerProbe(consoles)
    kind, _, where = text.partition(":")
    try:
        connector = connector_of(f"tcp:{where}")
    except ValueError:
        connector = None
    if connector is None or kind not in ("tcp", "echo"):
        message = f"--probe {text!r} is neither console, tcp:ADDRESS:PORT nor echo:ADDRESS:PORT"
        raise ControlError(ErrorKind.BAD_REQUEST, message)
    return ConnectProbe(connector, where) if kind == "tcp" else EchoProbe(connector, where)
