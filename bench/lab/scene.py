"""A pair of hosts with the guest on one of them, led from state to state; a person would do it with ftctl."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

import trio

from bench.lab import qemu, vm
from bench.model import NotMeasuredError
from lab.guest import image
from lab.guest.services import CHAIN_PORT, REDIS_PORT, SHELL_PORT
from lab.kernel import image as kernel_image
from lab.kernel import modules
from lab.outside import redis_client, shell
from lab.outside.connecting import Service
from lab.pair.configuration import Configuration
from lab.pair.member import Member
from lab.pair.pair import Pair, PairSpec, prepared

BOOT_DEADLINE_S: Final = 900.0
COMMAND_DEADLINE_S: Final = 300.0
"""Generous: a host that is emulated on a busy machine needs a minute to start a Python program."""
ENTER_TRIES: Final = 5
TAKEOVER_DEADLINE_S: Final = 120.0
POLL_S: Final = 0.1
UNPROTECTED: Final = ("idle", "simplex")


class Scene:
    """Two hosts and the guest."""

    def __init__(self, pair: Pair, protection: vm.Protection) -> None:
        self.pair = pair
        self.protection = protection

    def service(self, port: int) -> Service:
        """A port of the guest, for a client outside."""
        return Service(vm.ADDRESS, port, self.pair.networks.connect)

    @property
    def chain(self) -> Service:
        return self.service(CHAIN_PORT)

    @property
    def database(self) -> Service:
        return self.service(REDIS_PORT)

    async def in_guest(self, text: str) -> str:
        """Output of a command in the guest. Raises LabError, NotMeasuredError when it fails."""
        said = await shell.run(self.service(SHELL_PORT), text)
        if said.status != 0:
            raise NotMeasuredError(f"`{text}` in the guest ended with {said.status}: {said.output.strip()}")
        return said.output

    async def active(self) -> Member | None:
        """The host that runs the guest."""
        for member in self.pair.members:
            if member.state == "up":
                status = await member.status(vm.NAME)
                if status is not None and status.state in (*UNPROTECTED, "syncing", "protected"):
                    return member
        return None

    async def unprotected(self) -> Member:
        """The guest runs, on whichever host, and is not protected. Returns the host."""
        active = await self.active()
        if active is None:
            await self.pair.boot()
            active = self.pair.alpha
            await self.start(active)
        elif await self._state(active) not in UNPROTECTED:
            await self.ftctl(active, "leave", vm.NAME)
        return active

    async def protected(self) -> Member:
        """The guest runs, protected by the other host. Returns the one that runs it."""
        active = await self.active()
        if active is None:
            active = await self.unprotected()
        await self.pair.boot()
        for left in reversed(range(ENTER_TRIES)):
            try:
                if not await self.is_protected(active):
                    await self.ftctl(active, "enter", vm.NAME)
                break
            except NotMeasuredError:
                # An emulated host that got no processor for a while, or a standby that is just ending.
                if not left:
                    raise
        return active

    async def is_protected(self, member: Member) -> bool:
        """Whether this host runs the guest and the other one could take it over."""
        return await self._state(member) == "protected"

    async def still_protected(self, member: Member) -> None:
        """Raises NotMeasuredError if it is not: then what was measured was not protection."""
        if not await self.is_protected(member):
            raise NotMeasuredError(
                "the guest lost its protection while it was measured (is the machine busy?)"
            )

    async def start(self, member: Member) -> None:
        """Boots the guest on this host, until its services answer."""
        # The arbiter may name a host that has been killed, or whose guest was stopped.
        await self.ftctl(member, "vm", "start", "--force", vm.NAME)
        with trio.move_on_after(BOOT_DEADLINE_S):
            await redis_client.wait_ready(self.database)
            return
        raise NotMeasuredError(f"the guest on {member.name} did not answer within {BOOT_DEADLINE_S:.0f} s")

    async def stop(self, member: Member) -> None:
        """Ends the guest as a power loss would."""
        await self.ftctl(member, "vm", "stop", vm.NAME)

    async def taken_over(self, member: Member) -> None:
        """Waits until this host runs the guest alone."""
        with trio.move_on_after(TAKEOVER_DEADLINE_S):
            while True:
                if await self._state(member) in UNPROTECTED:
                    return
                await trio.sleep(POLL_S)
        raise NotMeasuredError(f"{member.name} did not take the guest over in {TAKEOVER_DEADLINE_S:.0f} s")

    async def ftctl(self, member: Member, *words: str, timeout_s: float = COMMAND_DEADLINE_S) -> None:
        """Raises NotMeasuredError with what ftctl said when it refused."""
        done = await member.run(["ftctl", *words], timeout_s=timeout_s)
        if done.status != 0:
            said = done.output.decode(errors="replace").strip()
            raise NotMeasuredError(
                f"`ftctl {' '.join(words)}` on {member.name} ended with {done.status}: {said}"
            )

    async def _state(self, member: Member) -> str:
        status = await member.status(vm.NAME)
        return "" if status is None else status.state


@asynccontextmanager
async def running(protection: vm.Protection, *, with_qemu: bool) -> AsyncIterator[Scene]:
    """Both hosts are booted and have the guest's files, and QEMU if asked for; killed at the end.

    Raises LabError, MissingError; a failure has the hosts' logs with it.
    """
    guest = image.build()
    spec = PairSpec(
        modules=modules.build(kernel_image.find()),
        configuration=Configuration({vm.NAME: vm.vm_file(protection)}),
        state_disk_mib=vm.STATE_DISK_MIB,
        files={**vm.host_files(guest), **(qemu.host_files() if with_qemu else {})},
    )
    with prepared(spec) as pair:
        for member in pair.members:
            vm.put_disk(pair.folder / f"{member.name}.disk", guest)
        await pair.boot()
        try:
            yield Scene(pair, protection)
        except Exception as error:
            with trio.move_on_after(60, shield=True):
                error.add_note(await pair.logs())
            raise
