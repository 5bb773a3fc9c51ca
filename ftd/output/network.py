"""Taps and bridges, over netlink. Every function here blocks for about a millisecond: call it in a thread.

A tap is made for one worker and lives as long as a descriptor of it is open: whatever ends the worker, even a
SIGKILL, removes the tap and its port of the bridge.
"""

from __future__ import annotations

import errno
import fcntl
import os
import struct
from typing import Any, Final

from pyroute2 import IPRoute
from pyroute2.netlink.exceptions import NetlinkError

from ftd.errors import ControlError, ErrorKind
from ftd.log import get_logger
from ftd.protocol.control import NetSpec

TUN_DEVICE: Final = "/dev/net/tun"
TUNSETIFF: Final = 0x400454CA
IFF_TAP: Final = 0x0002
IFF_NO_PI: Final = 0x1000
IFF_TUN_EXCL: Final = 0x8000
NO_IPV6_ADDRESS: Final = 1
"""addr_gen_mode none: this host must not speak to the guest from the tap."""
MADE_BY_US: Final = "made by ftd"
"""Alias of a bridge that is removed with its last tap."""
FIRST_FREE_FD: Final = 10
"""A worker is started with its own descriptors below this."""
log = get_logger(__name__)


def plug(vm: str, spec: NetSpec) -> int:
    """Makes the VM's tap, up and in its bridge; returns its descriptor, which is the caller's.

    Raises ControlError; then nothing of it is left.
    """
    try:
        return _plug(vm, spec)
    except (NetlinkError, OSError) as error:
        raise _error(vm, f"asking the kernel for its interfaces: {error}") from error


def _plug(vm: str, spec: NetSpec) -> int:
    with IPRoute() as netlink:
        made_bridge = _require_bridge(netlink, vm, spec)
        try:
            fd = _make_tap(vm, spec)
            try:
                _set_up(netlink, vm, spec)
            except BaseException:
                os.close(fd)
                raise
        except BaseException:
            if made_bridge:
                _remove_bridge(netlink, spec.bridge)
            raise
    return fd


def unplug(spec: NetSpec) -> None:
    """After the VM's tap has gone: removes the bridge if it was made by `plug` and has no port left.

    Never raises: a bridge too many is no reason to stop anything.
    """
    if spec.create_bridge:
        try:
            _remove_if_empty(spec)
        except (NetlinkError, OSError) as error:
            log.warning("a bridge is left behind", bridge=spec.bridge, reason=str(error))


def _remove_if_empty(spec: NetSpec) -> None:
    with IPRoute() as netlink:
        link = _find(netlink, spec.bridge)
        if link is None or link.get("ifalias") != MADE_BY_US:
            return
        if not any(True for _ in netlink.get_links(master=link["index"])):
            _remove_bridge(netlink, spec.bridge)


def _find(netlink: IPRoute, name: str) -> Any | None:
    try:
        found = list(netlink.get_links(ifname=name))
    except NetlinkError as error:
        if error.code == errno.ENODEV:
            return None
        raise
    return found[0] if found else None


def _require_bridge(netlink: IPRoute, vm: str, spec: NetSpec) -> bool:
    """Whether it had to be made."""
    link = _find(netlink, spec.bridge)
    if link is not None:
        kind = link.get(("linkinfo", "kind"))
        if kind != "bridge":
            what = f"is no bridge but {kind or 'a plain interface'}"
            raise _error(vm, f"{spec.bridge} {what}: name a bridge in net.bridge")
        return False
    if not spec.create_bridge:
        raise _error(
            vm,
            f"there is no bridge {spec.bridge}: make it (ip link add {spec.bridge} type bridge), "
            "or set net.create_bridge = true",
        )
    try:
        netlink.link("add", ifname=spec.bridge, kind="bridge")
        netlink.link("set", ifname=spec.bridge, ifalias=MADE_BY_US, state="up")
    except NetlinkError as error:
        raise _netlink_error(vm, f"making the bridge {spec.bridge}", error) from error
    return True


def _remove_bridge(netlink: IPRoute, name: str) -> None:
    try:
        netlink.link("del", ifname=name)
    except NetlinkError as error:
        if error.code != errno.ENODEV:
            raise


def _make_tap(vm: str, spec: NetSpec) -> int:
    try:
        fd = os.open(TUN_DEVICE, os.O_RDWR | os.O_CLOEXEC)
    except OSError as error:
        hint = "load the module tun (modprobe tun)" if error.errno == errno.ENOENT else "ftd has to be root"
        raise _error(vm, f"opening {TUN_DEVICE}: {error.strerror}; {hint}", error.errno) from error
    try:
        # Exclusively: a tap of this name that somebody has made for something else must not be taken over.
        request = struct.pack("16sH22x", spec.tap.encode(), IFF_TAP | IFF_NO_PI | IFF_TUN_EXCL)
        fcntl.ioctl(fd, TUNSETIFF, request)
        # Out of the way of the descriptors that a worker is started with.
        return fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, FIRST_FREE_FD)
    except OSError as error:
        if error.errno == errno.EBUSY:
            why = f"the interface {spec.tap} exists already: end what uses it, or set another name in net.tap"
        else:
            why = f"making the tap {spec.tap}: {error.strerror}{_privilege_hint(error.errno)}"
        raise _error(vm, why, error.errno) from error
    finally:
        os.close(fd)


def _set_up(netlink: IPRoute, vm: str, spec: NetSpec) -> None:
    # A bridge takes the lowest address of its ports for its own: this one never is the lowest.
    address = "fe:" + spec.mac[1:].hex(":")
    index, master = _index(netlink, vm, spec.tap), _index(netlink, vm, spec.bridge)
    steps: list[tuple[str, dict[str, Any]]] = [
        (f"setting up the tap {spec.tap}", {"address": address, "mtu": spec.mtu}),
        (f"keeping IPv6 off the tap {spec.tap}", {"IFLA_AF_SPEC": _no_ipv6()}),
        (
            f"putting the tap {spec.tap} into the bridge {spec.bridge}",
            {"master": master},
        ),
        (f"bringing the tap {spec.tap} up", {"state": "up"}),
    ]
    for what, arguments in steps:
        try:
            netlink.link("set", index=index, **arguments)
        except NetlinkError as error:
            raise _netlink_error(vm, what, error) from error


def _no_ipv6() -> dict[str, Any]:
    return {"attrs": [("AF_INET6", {"attrs": [("IFLA_INET6_ADDR_GEN_MODE", NO_IPV6_ADDRESS)]})]}


def _index(netlink: IPRoute, vm: str, name: str) -> int:
    link = _find(netlink, name)
    if link is None:
        raise _error(vm, f"the interface {name} has just gone: who removed it?")
    return int(link["index"])


def _privilege_hint(code: int | None) -> str:
    return "; ftd needs CAP_NET_ADMIN for a VM with [net]" if code in (errno.EPERM, errno.EACCES) else ""


def _netlink_error(vm: str, what: str, error: NetlinkError) -> ControlError:
    return _error(vm, f"{what}: {os.strerror(error.code)}{_privilege_hint(error.code)}", error.code)


def _error(vm: str, why: str, code: int | None = None) -> ControlError:
    kind = ErrorKind.PERMISSION if code in (errno.EPERM, errno.EACCES) else ErrorKind.CONFIG
    return ControlError(kind, f"VM {vm}: network: {why}")
