"""What an operator asks for in vain: a sentence says why, and nothing was changed."""

import resource
import socket
from collections.abc import Awaitable, Callable
from typing import Final

import pytest

from ftd.drill.local_pair import Guest, LocalHost, local_pair
from ftd.errors import ControlError, ErrorKind
from ftd.protocol.control import VmParams
from ftd.protocol.control_operator import ENTER, FAILOVER, LEAVE, SWITCHOVER, VM_START, ForceParams
from tests.failover.scene import GUEST, Scene, playing

Request = Callable[[LocalHost, str], Awaitable[object]]
MIB: Final = 1 << 20


async def start(host: LocalHost, vm: str) -> object:
    return await host.call(VM_START, ForceParams(vm=vm))


async def enter(host: LocalHost, vm: str) -> object:
    return await host.call(ENTER, VmParams(vm=vm))


async def leave(host: LocalHost, vm: str) -> object:
    return await host.call(LEAVE, VmParams(vm=vm))


async def switchover(host: LocalHost, vm: str) -> object:
    return await host.call(SWITCHOVER, VmParams(vm=vm))


async def failover(host: LocalHost, vm: str) -> object:
    return await host.call(FAILOVER, ForceParams(vm=vm))


async def refused(request: Request, host: LocalHost, vm: str, kind: ErrorKind, sentence: str) -> None:
    with pytest.raises(ControlError, match=sentence) as info:
        await request(host, vm)
    assert info.value.kind is kind


async def test_of_a_protected_vm() -> None:
    """Twice entered, started anew, failed over where it runs, commanded on the wrong host: all in vain."""
    async with playing() as scene:
        alpha, beta, vm = scene.alpha, scene.beta, scene.vm
        scene.begin_asking()
        await scene.more_answers()
        await refused(enter, alpha, vm, ErrorKind.WRONG_STATE, "is protected already")
        await refused(start, alpha, vm, ErrorKind.WRONG_STATE, "has a worker here already")
        await refused(failover, alpha, vm, ErrorKind.WRONG_ROLE, "is active on this host")
        for request in (enter, leave, switchover):
            await refused(request, beta, vm, ErrorKind.WRONG_ROLE, "this host has the standby")
        await refused(start, beta, vm, ErrorKind.WRONG_STATE, "has a worker here already: standby")
        for request in (start, enter, leave, switchover, failover):
            await refused(request, alpha, "ghost", ErrorKind.UNKNOWN_VM, "no VM ghost")
        assert (await scene.status(alpha)).state == "protected"
        assert (await scene.status(beta)).state == "standby"
        await scene.epochs_go_on(alpha)
        await scene.settle(alpha)


async def test_of_an_unprotected_vm() -> None:
    """There is nothing to leave, and nothing to fail over to."""
    async with playing(protected=False) as scene:
        scene.begin_asking()
        await refused(leave, scene.alpha, scene.vm, ErrorKind.WRONG_STATE, "is not protected")
        await refused(failover, scene.alpha, scene.vm, ErrorKind.WRONG_ROLE, "is active on this host")
        await refused(failover, scene.beta, scene.vm, ErrorKind.WRONG_STATE, "is not running on beta")
        await refused(start, scene.beta, scene.vm, ErrorKind.REFUSED, "belongs to host alpha")
        await guest_is_undisturbed(scene)


async def guest_is_undisturbed(scene: Scene) -> None:
    """Runs on alpha, unprotected, in its first generation; beta has nothing of it."""
    status = await scene.status(scene.alpha)
    assert (status.state, status.generation) == ("idle", 1)
    assert await scene.beta.status(scene.vm) is None
    await scene.more_answers()
    await scene.settle(scene.alpha)


async def test_a_standby_beyond_the_configured_memory() -> None:
    """Enter fails with the reason before anything is sent, and the guest keeps running."""
    async with playing(protected=False) as scene:
        scene.begin_asking()
        await scene.more_answers()
        await scene.beta.stop_daemon()
        config = scene.beta.config.read_text()
        scene.beta.config.write_text(config.replace("[host]\n", "[host]\nstandby_memory_max_mib = 32\n"))
        await scene.beta.start_daemon()
        await refused(enter, scene.alpha, scene.vm, ErrorKind.MEMORY, "standby_memory_max_mib")
        await guest_is_undisturbed(scene)


async def test_a_standby_without_memory() -> None:
    """The kernel of the standby's host gives none: the same, found out later."""
    async with playing(protected=False) as scene:
        scene.begin_asking()
        await scene.more_answers()
        assert scene.beta.daemon is not None
        limit = address_space_bytes(scene.beta.daemon.pid) + GUEST.memory_mib * MIB
        resource.prlimit(scene.beta.daemon.pid, resource.RLIMIT_AS, (limit, limit))
        await refused(enter, scene.alpha, scene.vm, ErrorKind.MEMORY, "memory")
        await guest_is_undisturbed(scene)


def address_space_bytes(pid: int) -> int:
    with open(f"/proc/{pid}/statm") as file:
        return int(file.read().split()[0]) * resource.getpagesize()


async def test_a_console_address_in_use() -> None:
    """The guest is not started, and can be once the address is free."""
    async with local_pair(GUEST) as pair:
        with socket.create_server(("127.0.0.1", 0)) as other:
            await listen_on(pair.alpha, other)
            await refused(start, pair.alpha, GUEST.name, ErrorKind.CONFIG, "in use")
            assert await pair.alpha.status(GUEST.name) is None
        await start(pair.alpha, GUEST.name)
        status = await pair.wait_for_state(pair.alpha, "idle")
        assert status.console is not None
        assert status.console.startswith("tcp:")


async def test_a_takeover_with_the_console_address_in_use() -> None:
    """A guest that nobody can talk to is better than none: it runs, and status says what is wrong."""
    async with local_pair(Guest(memory_mib=64, image="toucher", args=(10, 100))) as pair:
        with socket.create_server(("127.0.0.1", 0)) as other:
            await listen_on(pair.beta, other)
            await pair.start_guest()
            await pair.enter()
            await failover(pair.beta, pair.guest.name)
            status = await pair.wait_for_state(pair.beta, "simplex")
            assert "in use" in status.reason


async def listen_on(host: LocalHost, taken: socket.socket) -> None:
    """Gives the guest's console on `host` an address that is taken."""
    [path] = (host.folder / "vms").glob("*.toml")
    address = f"tcp:127.0.0.1:{taken.getsockname()[1]}"
    lines = [f'listen = "{address}"' if "listen" in line else line for line in path.read_text().splitlines()]
    path.write_text("\n".join(lines))
    await host.stop_daemon()
    await host.start_daemon()
