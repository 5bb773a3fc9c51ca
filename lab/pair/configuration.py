"""What ftd is told on each host of a pair."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from lab.pair import etcd
from lab.pair.network import HOSTS, REPLICATION

CONTROL_PORT: Final = 7600
HOST_FILE: Final = "etc/ftd/ftd.toml"


LEDGER_PORT: Final = 7000


def ledger(*, heartbeat_timeout_ms: int = 1000, reprotect: bool = True) -> str:
    """VM file of a bare guest that answers on the console, at whichever host runs it.

    For processors that are emulated and share this machine's with those of the other host.
    """
    return f"""name = "ledger"
memory_mib = 64
reprotect = {str(reprotect).lower()}

[guest]
image = "ledger"

[console]
listen = "tcp:0.0.0.0:{LEDGER_PORT}"

[replication]
checkpoint_rate_hz = 50
heartbeat_interval_ms = 100
heartbeat_timeout_ms = {heartbeat_timeout_ms}
"""


@dataclass(frozen=True)
class Configuration:
    """VM files by name, and what is added to the host files."""

    vms: Mapping[str, str] = field(default_factory=dict)
    """Name to the text of the VM file, the same on both hosts."""
    host_tables: str = ""
    """More tables of the host file, as text; for both hosts."""
    peer_lines: Callable[[str], str] = lambda _peer: ""
    """More lines of a host's table of its peer, whose name is given."""

    def host_file(self, host: str) -> str:
        """`/etc/ftd/ftd.toml` of a host."""
        [peer] = set(HOSTS) - {host}
        return f"""vm_dir = "vms"

[host]
name = "{host}"
control_listen = "{REPLICATION.address(host)}:{CONTROL_PORT}"
data_address = "{REPLICATION.address(host)}"

[peers.{peer}]
address = "{REPLICATION.address(peer)}:{CONTROL_PORT}"
{self.peer_lines(peer)}
[arbiter]
kind = "etcd"
endpoints = ["{etcd.endpoint()}"]

{self.host_tables}"""

    def write(self, host: str, folder: Path) -> dict[str, Path]:
        """Writes a host's files below `folder`; returns them by their paths inside."""
        texts = {HOST_FILE: self.host_file(host)}
        texts |= {f"etc/ftd/vms/{name}.toml": text for name, text in self.vms.items()}
        for path, text in texts.items():
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).write_text(text)
        return {f"/{path}": folder / path for path in texts}
