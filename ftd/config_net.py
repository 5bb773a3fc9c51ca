"""`[net]` of a VM file: defaults, and what its values must be."""

import hashlib
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from ftd.config_schema import NetSection
from ftd.errors import ConfigError
from ftd.protocol.control import NetSpec

INTERFACE_NAME_MAX: Final = 15
TAP_PREFIX: Final = "ftd-"
LOCAL_UNICAST: Final = 0x02
"""First byte of an address that no manufacturer has given."""
_MAC: Final = re.compile(r"[0-9a-fA-F]{2}(:[0-9a-fA-F]{2}){5}")


def resolve(path: Path, net: NetSection, name: str, vm_id: bytes) -> NetSpec:
    """Fills in what the file leaves to the VM's name and id. Raises ConfigError."""
    return NetSpec(
        bridge=net.bridge,
        create_bridge=net.create_bridge,
        tap=net.tap or default_tap(name),
        mac=_mac(path, net.mac) if net.mac else default_mac(vm_id),
        mtu=net.mtu,
    )


def default_tap(name: str) -> str:
    """`ftd-NAME`; of a name that is too long its start, and a digest that tells it from its like."""
    room = INTERFACE_NAME_MAX - len(TAP_PREFIX)
    if len(name) <= room:
        return TAP_PREFIX + name
    digest = hashlib.sha256(name.encode()).hexdigest()[:5]
    return f"{TAP_PREFIX}{name[: room - len(digest) - 1]}-{digest}"


def default_mac(vm_id: bytes) -> bytes:
    """The same on both hosts; two VMs of one network may have the same with a chance of 1 in 10^12."""
    return bytes([LOCAL_UNICAST]) + vm_id[-5:]


def check_distinct(taps: Iterable[tuple[Path, NetSpec | None]]) -> None:
    """No two VMs may share a tap or a MAC. Raises ConfigError."""
    seen: dict[tuple[str, str], Path] = {}
    for path, net in taps:
        for key in [("tap", net.tap), ("mac", net.mac.hex(":"))] if net else []:
            other = seen.setdefault(key, path)
            if other != path:
                raise ConfigError(f"{path}: net.{key[0]}: {key[1]} is that of {other}, too")


def _mac(path: Path, text: str) -> bytes:
    if not _MAC.fullmatch(text):
        raise ConfigError(f"{path}: net.mac: {text!r} is no address like 02:00:5e:10:00:01")
    mac = bytes.fromhex(text.replace(":", ""))
    if mac[0] & 1 or not any(mac):
        raise ConfigError(f"{path}: net.mac: {text} is no single card's: the first byte must be even")
    return mac
