"""The same guest under plain QEMU/KVM on the lab's hosts: what ftd is compared with.

Without a disk: QEMU's live migration takes memory along, and leaves disks to storage that both hosts see.
"""

import re
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import trio

from bench.lab import vm
from bench.model import NotMeasuredError
from lab.guest import image
from lab.guest.services import CHAIN_PORT
from lab.host import borrowed
from lab.host.emulator import PACKAGE, PROGRAM
from lab.outside.connecting import Service
from lab.pair.member import Member
from lab.pair.network import CLIENT, REPLICATION
from lab.pair.pair import Pair

ADDRESS: Final = "10.0.1.60"
MAC: Final = "52:54:00:00:01:60"
TAP: Final = "qemu"
MONITOR: Final = "/run/qemu.monitor"
LOG: Final = "/var/log/qemu.log"
PORT: Final = 4444
_FIRMWARE: Final = (
    "/usr/share/seabios/bios-256k.bin",
    "/usr/share/qemu/kvmvapic.bin",
    "/usr/share/qemu/linuxboot_dma.bin",
)
BOOT_DEADLINE_S: Final = 900.0
MIGRATION_DEADLINE_S: Final = 120.0
POLL_S: Final = 0.2


def host_files() -> Mapping[str, Path]:
    """What a host needs to run it. Raises MissingError."""
    return {**borrowed.program(PROGRAM, package=PACKAGE), **{path: Path(path) for path in _FIRMWARE}}


class QemuGuest:
    """One guest, on one host at a time."""

    def __init__(self, pair: Pair) -> None:
        self.chain = Service(ADDRESS, CHAIN_PORT, pair.networks.connect)

    async def start(self, member: Member) -> None:
        """Boots it, until its service answers. Raises NotMeasuredError."""
        await self._launch(member)
        with trio.move_on_after(BOOT_DEADLINE_S):
            while True:
                with trio.move_on_after(2):
                    try:
                        await (await self.chain.open()).aclose()
                    except OSError:
                        pass
                    else:
                        return
                await trio.sleep(POLL_S)
        log = await member.run(f"tail -n 20 {LOG}")
        raise NotMeasuredError(f"the guest under QEMU did not boot: {log.output.decode(errors='replace')}")

    async def migrate(self, source: Member, target: Member) -> None:
        """Live migration; on return it runs on `target` and the source's emulator has ended."""
        await self._launch(target, "-incoming", f"tcp:0:{PORT}")
        await self._ask(source, "migrate_set_parameter max-bandwidth 1G")
        await self._ask(source, f"migrate -d tcp:{REPLICATION.address(target.name)}:{PORT}")
        with trio.move_on_after(MIGRATION_DEADLINE_S):
            while (state := _state(await self._ask(source, "info migrate"))) != "completed":
                if state == "failed":
                    break
                await trio.sleep(POLL_S)
            else:
                await self.stop(source)
                return
        raise NotMeasuredError(f"QEMU's live migration to {target.name} did not complete: {state}")

    async def stop(self, member: Member) -> None:
        """Ends its emulator there."""
        await self._ask(member, "quit")
        await member.run(f"while [ -S {MONITOR} ]; do sleep 0.05; done")

    async def _launch(self, member: Member, *more: str) -> None:
        words = [
            *(PROGRAM, "-nodefaults", "-no-user-config", "-display", "none", "-name", "guest"),
            *("-machine", "q35,accel=kvm,usb=off", "-cpu", "host", "-m", f"{image.MEMORY_MIB}M"),
            *("-kernel", vm.KERNEL, "-initrd", vm.INITRD, "-append", image.command_line(f"{ADDRESS}/24")),
            *("-netdev", f"tap,id=net,ifname={TAP},script=no,downscript=no"),
            *("-device", f"virtio-net-pci,netdev=net,mac={MAC},romfile="),
            *("-serial", f"file:{LOG}.console", "-monitor", f"unix:{MONITOR},server=on,wait=off"),
            *more,
        ]
        script = f"""
            ip link show {TAP} >/dev/null 2>&1 || ip tuntap add {TAP} mode tap
            ip link set {TAP} master {CLIENT.name} up
            setsid {shlex.join(words)} >{LOG} 2>&1 </dev/null &
            tries=200
            until [ -S {MONITOR} ]; do
                tries=$((tries - 1)); [ $tries -gt 0 ] || exit 1
                sleep 0.1
            done"""
        done = await member.run(script)
        if done.status != 0:
            log = await member.run(f"cat {LOG}")
            raise NotMeasuredError(f"QEMU did not start: {log.output.decode(errors='replace').strip()}")

    async def _ask(self, member: Member, command: str) -> str:
        asked = await member.run(f"echo {shlex.quote(command)} | socat -t 1 - UNIX-CONNECT:{MONITOR}")
        return asked.output.decode(errors="replace")


def _state(said: str) -> str:
    """Of `info migrate`."""
    found = re.search(r"Migration status: (\w[\w-]*)|Status:\s+(\w[\w-]*)", said)
    return (found[1] or found[2]) if found else ""
