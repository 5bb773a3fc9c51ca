"""Checks what the host file says of fencing: `[peers.NAME] fence`, and `[arbiter] kind = "none"`."""

from pathlib import Path

from ftd.config_schema import HostFile, PeerSection
from ftd.errors import ConfigError
from ftd.protocol.control import FenceSpec


def fences(path: Path, file: HostFile) -> dict[str, FenceSpec]:
    """By host. Raises ConfigError for options that are none."""
    return {name: _fence(path, name, peer) for name, peer in file.peers.items() if peer.fence}


def _fence(path: Path, name: str, peer: PeerSection) -> FenceSpec:
    command, *options = peer.fence
    for option in options:
        key, equals, _ = option.partition("=")
        if not (key and equals) or "\n" in option:
            raise ConfigError(f"{path}: peers.{name}.fence: {option!r} is not name=value")
        if key == "action":
            raise ConfigError(f"{path}: peers.{name}.fence: ftd says itself which action it wants")
    return FenceSpec(
        host=name,
        command=command,
        options=options,
        delay_s=peer.fence_delay_s,
        timeout_s=peer.fence_timeout_s,
    )


def check_no_arbiter(path: Path, file: HostFile) -> None:
    """Raises ConfigError where nobody could decide who goes on."""
    if file.arbiter.kind != "none":
        return
    if len(file.peers) != 1:
        raise ConfigError(
            f"{path}: arbiter.kind: 'none' is for two hosts that have each other as the only peer, "
            f"here are {len(file.peers)} [peers]"
        )
    [(name, peer)] = file.peers.items()
    if file.arbiter.unattended_failover and not peer.fence:
        raise ConfigError(
            f"{path}: arbiter.kind: 'none' leaves nobody to decide which host goes on when {name} is silent. "
            f"Name an arbiter, or the command that turns {name} off in peers.{name}.fence, or let an "
            "operator decide with arbiter.unattended_failover = false"
        )
