"""Two daemons with fake workers: protection that comes back, and what stands in its way."""

import os
import signal
import uuid
from collections.abc import Callable

import pytest
import trio

from ftd.arbiter.local import LocalArbiter
from ftd.errors import ControlError, ErrorKind
from ftd.protection.wishes import Wish, Wishes
from ftd.protocol.control_operator import (
    ENTER,
    LEAVE,
    MAINTENANCE,
    STATUS,
    SWITCHOVER,
    VM_STOP,
    StatusParams,
)
from ftd.protocol.maintenance import MaintenanceParams
from tests.unit.daemon.conftest import VM_FILE, Host
from tests.unit.daemon.test_peers import peer, request

AGAIN = VM_FILE.replace("reprotect = false", "reprotect = true")
Misbehave = Callable[[str], None]


@pytest.fixture(autouse=True)
def reprotecting(hosts: tuple[Host, Host]) -> None:
    for host in hosts:
        host.reconfigure(AGAIN)


async def until(host: Host, state: str) -> None:
    with trio.fail_after(20):
        while True:
            report = await host.call(STATUS, StatusParams())
            if [worker.state for worker in report.workers] == [state]:
                return
            await trio.sleep(0.02)


async def until_said(host: Host, words: str) -> None:
    with trio.fail_after(20):
        while True:
            report = await host.call(STATUS, StatusParams())
            if any(words in wanted.waits_for for wanted in report.protection):
                return
            await trio.sleep(0.02)


def wish(host: Host) -> Wish | None:
    """As it is on the disk."""
    wishes = Wishes(host.config.wishes_dir)
    wishes.load()
    return wishes.get("web")


async def give(host: Host, generation: int, holder: str) -> None:
    """What the arbiter has recorded, as `host` sees it."""
    directory = host.config.arbiter_directory
    directory.mkdir(parents=True, exist_ok=True)
    arbiter = LocalArbiter(directory)
    vm_id = str(uuid.UUID(bytes=host.config.vms["web"].vm_id))
    record = await arbiter.read(vm_id)
    for expected in range(record.generation if record else 0, generation):
        await arbiter.claim(vm_id, expected, holder, os.urandom(16))


async def kill(host: Host) -> None:
    os.kill((await host.worker()).pid, signal.SIGKILL)


async def test_after_a_failover(alpha: Host, beta: Host) -> None:
    await alpha.start_vm()
    await alpha.ask(ENTER)
    assert (wish(alpha), wish(beta)) == (Wish.ENTERED, Wish.STANDBY)
    await kill(alpha)
    await until(beta, "protected")
    assert (wish(alpha), wish(beta)) == (Wish.STANDBY, Wish.ENTERED)
    assert (await alpha.worker()).state == "standby"


async def test_a_start_anew_is_no_takeover(alpha: Host, beta: Host) -> None:
    """What beta was told as the standby's host holds for that standby only."""
    await alpha.start_vm()
    await alpha.ask(ENTER)
    await alpha.ask(VM_STOP)
    await alpha.stop()
    await beta.start_vm()
    assert wish(beta) is None
    assert not (await beta.call(STATUS, StatusParams())).protection


async def test_an_enter_that_fails_leaves_no_wish(alpha: Host) -> None:
    await alpha.start_vm()
    with pytest.raises(ControlError, match="refused"):
        await alpha.ask(ENTER)
    assert wish(alpha) is None
    assert (await alpha.worker()).state == "idle"


async def test_a_state_dir_that_cannot_be_written(alpha: Host, beta: Host) -> None:
    await alpha.start_vm()
    alpha.config.wishes_dir.parent.write_text("in the way")
    with pytest.raises(ControlError, match=r"cannot record in .* whether VM web is to be protected"):
        await alpha.ask(ENTER)
    assert (await alpha.worker()).state == "idle"
    assert not (await beta.call(STATUS, StatusParams())).workers


async def test_leave_while_it_is_waited_for(alpha: Host, beta: Host, nursery: trio.Nursery) -> None:
    await alpha.start_vm()
    await alpha.ask(ENTER)
    await beta.stop()
    await alpha.ask(LEAVE)
    await alpha.stop()
    await alpha.start(nursery)
    assert wish(alpha) is None
    with pytest.raises(ControlError, match="VM web is not protected"):
        await alpha.ask(LEAVE)


async def test_switchover_joins_what_is_under_way(alpha: Host, beta: Host) -> None:
    await alpha.start_vm()
    await alpha.ask(ENTER)
    await kill(alpha)
    await until(beta, "protected")
    await beta.ask(SWITCHOVER)
    await until(alpha, "protected")


async def test_the_next_host_in_the_place_of_one_that_does_not_answer(
    hosts: tuple[Host, Host], nursery: trio.Nursery
) -> None:
    alpha, beta = hosts
    with_gamma(alpha)
    for host in hosts:
        await host.start(nursery)
    await alpha.start_vm()
    await alpha.ask(ENTER)
    assert (await alpha.worker()).peer == "beta"
    await alpha.ask(LEAVE)
    await beta.stop()
    with pytest.raises(ControlError, match=r"no host can have the standby of VM web: .*gamma.*; .*beta"):
        await alpha.ask(ENTER)
    await alpha.stop()


def with_gamma(host: Host) -> None:
    """A third host, which is dead, is the first choice."""
    path = host.config.path
    path.write_text(path.read_text() + "[peers.gamma]\naddress = '127.0.0.1:1'\n")
    host.reconfigure(AGAIN.replace("[guest]", 'peers = ["alpha", "gamma", "beta"]\n[guest]'))


# Copies that stand in the way.


async def test_a_stale_copy_is_ended_when_the_arbiter_says_so(beta: Host) -> None:
    await beta.start_vm()
    pid = (await beta.worker()).pid
    asked = request(beta, generation=4)
    with pytest.raises(ControlError, match="the arbiter does not say") as caught:
        await peer(beta).prepare_standby(asked)
    assert caught.value.kind is ErrorKind.ARBITER
    for generation, holder in ((3, "alpha"), (4, "beta")):
        await give(beta, generation, holder)
        with pytest.raises(ControlError, match="has a worker here already: active, idle in generation 1"):
            await peer(beta).prepare_standby(asked)
        assert (await beta.worker()).pid == pid
    await give(beta, 5, "alpha")
    await peer(beta).prepare_standby(request(beta, generation=5))
    assert (await beta.worker()).state == "standby_syncing"


async def test_a_stale_copy_that_does_not_answer(beta: Host) -> None:
    await beta.start_vm()
    pid = (await beta.worker()).pid
    os.kill(pid, signal.SIGSTOP)
    await give(beta, 2, "alpha")
    await peer(beta).prepare_standby(request(beta, generation=2))
    assert (await beta.worker()).pid != pid


# Maintenance.


async def maintain(host: Host, name: str, *, end: bool = False) -> tuple[list[tuple[str, bool]], str]:
    params = MaintenanceParams(host=name, action="end" if end else "begin")
    report = await host.call(MAINTENANCE, params)
    return [(moved.vm, moved.gone) for moved in report.vms], report.note


async def test_a_guest_moves_off_and_stays_off(alpha: Host, beta: Host, nursery: trio.Nursery) -> None:
    await alpha.start_vm()
    await alpha.ask(ENTER)
    assert await maintain(beta, "alpha") == ([("web", True)], "")
    await until(beta, "simplex")
    await until_said(beta, "alpha: host alpha: alpha is in maintenance: no standby of VM web is made")
    await alpha.stop()
    await alpha.start(nursery)
    await until_said(beta, "alpha is in maintenance")
    with pytest.raises(ControlError, match=r"alpha is in maintenance: VM web is not started"):
        await alpha.start_vm()
    assert (await alpha.call(STATUS, StatusParams())).host.maintenance == ("alpha",)
    assert await maintain(beta, "alpha", end=True) == ([], "")
    await until(beta, "protected")


async def test_a_standby_is_let_go(alpha: Host, beta: Host) -> None:
    await alpha.start_vm()
    await alpha.ask(ENTER)
    report = await alpha.call(MAINTENANCE, MaintenanceParams(host="beta", action="begin"))
    [moved] = report.vms
    assert moved.how == "its standby is let go, and no other host may have one: it runs on alpha, UNPROTECTED"
    await until_said(alpha, "beta is in maintenance")
    assert (await alpha.worker()).state == "idle"
    await maintain(alpha, "beta", end=True)
    await until(alpha, "protected")


async def test_a_guest_that_cannot_move_is_named(alpha: Host, beta: Host) -> None:
    await alpha.start_vm()
    beta.memory_available_bytes = 1 << 20
    report = await alpha.call(MAINTENANCE, MaintenanceParams(host="alpha", action="begin"))
    [moved] = report.vms
    assert not moved.gone
    assert "beta has too little memory" in moved.how
    assert (await alpha.worker()).state == "idle"


async def test_a_host_that_cannot_be_told(
    alpha: Host, hosts: tuple[Host, Host], nursery: trio.Nursery
) -> None:
    beta = hosts[1]
    await beta.start(nursery)
    await alpha.start_vm()
    await alpha.ask(ENTER)
    await kill(beta)
    await beta.stop()
    vms, note = await maintain(alpha, "beta")
    assert vms == []
    assert "beta does not answer, so nothing was moved. alpha puts nothing there until" in note
    await alpha.stop()
    await alpha.start(nursery)
    assert (await alpha.call(STATUS, StatusParams())).host.maintenance == ("beta",)
    vms, note = await maintain(alpha, "beta", end=True)
    assert "alpha may put VMs on beta again" in note
    await beta.start(nursery)
    await beta.stop()


async def test_maintenance_of_nobody(alpha: Host) -> None:
    with pytest.raises(
        ControlError, match=r"no host gamma in \[peers\] \(there are: alpha, beta\)"
    ) as caught:
        await maintain(alpha, "gamma")
    assert caught.value.exit_code == 2
