"""What operators do, through two daemons and fake workers: start, protect, leave, move, take over, stop."""

import os
import signal
from collections.abc import Callable

import pytest
import trio

from ftd.errors import ControlError, ErrorKind
from ftd.protocol.control import PROTOCOL_VERSION, Method, Nothing
from ftd.protocol.control_operator import (
    ENTER,
    FAILOVER,
    LEAVE,
    STATUS,
    SWITCHOVER,
    VERSION,
    VM_LIST,
    VM_START,
    VM_STOP,
    ForceParams,
    StatusParams,
)
from ftd.transport.framing import TransportError
from tests.unit.daemon.conftest import VM_FILE, Host

Misbehave = Callable[[str], None]


async def test_start_list_stop(alpha: Host) -> None:
    pid = await alpha.start_vm()
    [entry] = (await alpha.call(VM_LIST, Nothing())).vms
    assert (entry.vm, entry.state, entry.role, entry.pid) == ("web", "idle", "active", pid)
    await alpha.ask(VM_STOP)
    [entry] = (await alpha.call(VM_LIST, Nothing())).vms
    assert (entry.state, entry.pid) == (None, None)
    assert not list(alpha.config.workers_dir.glob("web.s*")), "socket and spec are cleared away"


async def test_enter_and_leave(alpha: Host, beta: Host) -> None:
    await alpha.start_vm()
    await alpha.ask(ENTER)
    here, there = await alpha.worker(), await beta.worker()
    assert (here.role, here.state, here.peer) == ("active", "protected", "beta")
    assert (there.role, there.state, there.peer) == ("standby", "standby", "alpha")
    assert there.generation == here.generation
    assert here.vm_id == there.vm_id
    await alpha.ask(LEAVE)
    assert (await alpha.worker()).state == "idle"
    await alpha.ask(ENTER)
    assert (await beta.worker()).state == "standby", "the discarded standby was replaced"


async def test_stop_of_a_protected_vm_leaves_first(alpha: Host, beta: Host) -> None:
    await alpha.start_vm()
    await alpha.ask(ENTER)
    await alpha.ask(VM_STOP)
    assert (await beta.worker()).state == "discarded", "the standby did not take the stop for a death"


@pytest.mark.parametrize("protected_before", [True, False])
async def test_switchover_and_back(alpha: Host, beta: Host, protected_before: bool) -> None:
    await alpha.start_vm()
    if protected_before:
        await alpha.ask(ENTER)
    await alpha.ask(SWITCHOVER)
    assert (await alpha.worker()).state == "switched_over"
    moved = await beta.worker()
    assert (moved.role, moved.state, moved.generation) == ("active", "simplex", 2)
    await beta.ask(SWITCHOVER)
    assert (await alpha.worker()).generation == 3


async def test_failover_by_an_operator(alpha: Host, beta: Host) -> None:
    await alpha.start_vm()
    await alpha.ask(ENTER)
    await beta.call(FAILOVER, ForceParams(vm="web", force=True))
    assert (await beta.worker()).state == "simplex"


async def test_worker_killed_is_listed_no_more(alpha: Host, beta: Host) -> None:
    os.kill(await alpha.start_vm(), signal.SIGKILL)
    await alpha.until_gone()
    with pytest.raises(
        ControlError, match="VM web is not running on alpha; start it with `ftctl vm start web`"
    ):
        await alpha.ask(ENTER)


async def test_a_guest_that_reboots_runs_again(alpha: Host, beta: Host, misbehave: Misbehave) -> None:
    misbehave("reboot-in-enter")
    first = await alpha.start_vm()
    with pytest.raises(ControlError, match="web ended during enter"):
        await alpha.ask(ENTER)
    misbehave("")
    with trio.fail_after(30):
        while not (entries := (await alpha.call(STATUS, StatusParams())).workers):
            await trio.sleep(0.01)
    assert entries[0].pid != first
    assert entries[0].state == "idle"


async def test_restart_finds_the_workers_again(
    hosts: tuple[Host, Host], alpha: Host, beta: Host, nursery: trio.Nursery
) -> None:
    pid = await alpha.start_vm()
    await alpha.ask(ENTER)
    for host in hosts:
        await host.stop()
        assert not host.config.control_socket.exists()
    for host in hosts:
        await host.start(nursery)
    again = await alpha.worker()
    assert (again.pid, again.state) == (pid, "protected")
    assert (await beta.worker()).state == "standby"
    await alpha.ask(LEAVE)
    os.kill(pid, signal.SIGKILL)
    await alpha.until_gone()


async def test_restart_clears_away_dead_workers(alpha: Host, nursery: trio.Nursery) -> None:
    pid = await alpha.start_vm()
    await alpha.stop()
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    assert list(alpha.config.workers_dir.glob("web.sock"))
    await alpha.start(nursery)
    assert not list(alpha.config.workers_dir.glob("web.sock"))
    await alpha.start_vm()


async def test_a_worker_that_does_not_answer_is_listed_as_such(alpha: Host, nursery: trio.Nursery) -> None:
    pid = await alpha.start_vm()
    os.kill(pid, signal.SIGSTOP)
    report = await alpha.call(STATUS, StatusParams())
    assert [(silent.vm, silent.pid) for silent in report.unresponsive] == [("web", pid)]
    [entry] = (await alpha.call(VM_LIST, Nothing())).vms
    assert entry.state == "unresponsive"
    await alpha.stop()
    await alpha.start(nursery)
    with pytest.raises(ControlError, match=rf"pid {pid}\) does not answer status") as caught:
        await alpha.start_vm()
    assert caught.value.kind is ErrorKind.TIMEOUT
    os.kill(pid, signal.SIGCONT)
    assert (await alpha.worker()).state == "idle"


async def test_a_worker_that_ignores_stop_is_killed(
    alpha: Host, misbehave: Misbehave, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ftd.workers.WORKER_STOP", Method("stop", Nothing, Nothing, deadline_s=0.2))
    monkeypatch.setattr("ftd.workers.WORKER_STOP_DEADLINE_S", 0.1)
    misbehave("ignore-stop")
    await alpha.start_vm()
    await alpha.ask(VM_STOP)
    assert not (await alpha.call(STATUS, StatusParams())).workers


@pytest.mark.parametrize(
    ("how", "kind", "said"),
    [
        ("die-at-start", ErrorKind.INTERNAL, "died before it was ready; the last it said: no such device"),
        ("error-at-start", ErrorKind.NO_KVM, "/dev/kvm cannot be opened: permission denied"),
        ("garbage-at-start", ErrorKind.INTERNAL, "ready report that cannot be read"),
        ("hang-at-start", ErrorKind.INTERNAL, "was not ready within 0.5 s"),
    ],
)
async def test_a_worker_that_does_not_start(
    alpha: Host,
    misbehave: Misbehave,
    monkeypatch: pytest.MonkeyPatch,
    how: str,
    kind: ErrorKind,
    said: str,
) -> None:
    misbehave(how)
    patience_s = 0.5 if how == "hang-at-start" else 30
    with monkeypatch.context() as patch:
        patch.setattr("ftd.worker_process.ready_deadline_s", lambda _memory_bytes: patience_s)
        with pytest.raises(ControlError, match=said) as caught:
            await alpha.start_vm()
    assert caught.value.kind is kind
    misbehave("")
    await alpha.start_vm()


async def test_enter_that_the_worker_refuses_discards_the_standby(
    alpha: Host, beta: Host, misbehave: Misbehave
) -> None:
    misbehave("refuse-enter")
    await alpha.start_vm()
    with pytest.raises(ControlError, match="the standby refused: oversize"):
        await alpha.ask(ENTER)
    await beta.until_gone()
    assert (await alpha.worker()).state == "idle"


async def test_enter_in_which_the_worker_dies_leaves_the_standby_to_decide(
    alpha: Host, beta: Host, misbehave: Misbehave
) -> None:
    misbehave("die-in-enter")
    await alpha.start_vm()
    with pytest.raises(ControlError, match=r"web ended during enter; .*it is a good day to die"):
        await alpha.ask(ENTER)
    assert (await beta.worker()).state == "standby_syncing"


async def test_leave_gives_up_an_enter_and_nothing_else_interrupts_it(
    alpha: Host, beta: Host, misbehave: Misbehave, nursery: trio.Nursery
) -> None:
    misbehave("hang-in-enter")
    await alpha.start_vm()
    outcome: list[ControlError] = []

    async def enter() -> None:
        try:
            await alpha.ask(ENTER)
        except ControlError as error:
            outcome.append(error)

    async with trio.open_nursery() as entering:
        entering.start_soon(enter)
        with trio.fail_after(10):
            while (await alpha.worker()).state != "syncing":
                await trio.sleep(0.01)
        for method in (ENTER, VM_STOP, SWITCHOVER):
            with pytest.raises(ControlError, match="enter of VM web is under way here"):
                await alpha.ask(method)
        await alpha.ask(LEAVE)
    assert outcome[0].message == "left before it was protected"
    await beta.until_gone()


async def test_enter_survives_the_end_of_ftd(
    alpha: Host, beta: Host, misbehave: Misbehave, nursery: trio.Nursery
) -> None:
    """The worker carries on; the restarted daemon sees it and can end it."""
    misbehave("hang-in-enter")
    await alpha.start_vm()

    async def enter() -> None:
        with pytest.raises(TransportError):
            await alpha.ask(ENTER)

    async with trio.open_nursery() as entering:
        entering.start_soon(enter)
        while (await alpha.worker()).state != "syncing":
            await trio.sleep(0.01)
        await alpha.stop()
    await alpha.start(nursery)
    assert (await alpha.worker()).state == "syncing"
    assert (await beta.worker()).state == "standby_syncing", "not discarded: the enter may still succeed"
    await alpha.ask(LEAVE)


async def test_wrong_states_and_roles_change_nothing(alpha: Host, beta: Host) -> None:
    await alpha.start_vm()
    for method, said in [(LEAVE, r"VM web is not protected \(idle\)")]:
        with pytest.raises(ControlError, match=said):
            await alpha.ask(method)
    await alpha.ask(ENTER)
    wrong = [
        (alpha.ask(ENTER), "VM web is protected already", ErrorKind.WRONG_STATE),
        (alpha.start_vm(), "has a worker here already: active, protected", ErrorKind.WRONG_STATE),
        (alpha.call(FAILOVER, ForceParams(vm="web")), "active on this host", ErrorKind.WRONG_ROLE),
        (beta.ask(ENTER), "this host has the standby of VM web", ErrorKind.WRONG_ROLE),
        (beta.ask(LEAVE), "this host has the standby of VM web", ErrorKind.WRONG_ROLE),
        (beta.ask(SWITCHOVER), "this host has the standby of VM web", ErrorKind.WRONG_ROLE),
        (beta.ask(VM_STOP), "use `ftctl vm stop`", ErrorKind.WRONG_ROLE),
        (beta.start_vm(), "has a worker here already: standby, standby", ErrorKind.WRONG_STATE),
    ]
    for request, said, kind in wrong:
        with pytest.raises(ControlError, match=said) as caught:
            await request
        assert caught.value.kind is kind
    assert (await alpha.worker()).state == "protected"
    assert (await beta.worker()).state == "standby"


@pytest.mark.parametrize("method", [ENTER, LEAVE, SWITCHOVER, VM_STOP])
async def test_unknown_and_stopped_vms(alpha: Host, method: object) -> None:
    with pytest.raises(
        ControlError, match=r"no VM db in the configuration of alpha \(there are: web\)"
    ) as caught:
        await alpha.ask(method, "db")  # type: ignore[arg-type]
    assert caught.value.exit_code == 2
    with pytest.raises(ControlError, match="VM web is not running on alpha") as caught:
        await alpha.ask(method)  # type: ignore[arg-type]
    assert caught.value.exit_code == 1


async def test_too_little_memory_to_start(alpha: Host) -> None:
    alpha.memory_available_bytes = 100 << 20
    with pytest.raises(
        ControlError, match=r"alpha has too little memory for VM web: it needs 1\d\d MiB, 100 MiB"
    ):
        await alpha.start_vm()


async def test_a_running_vm_that_the_configuration_lost(alpha: Host, nursery: trio.Nursery) -> None:
    await alpha.start_vm()
    await alpha.stop()
    alpha.reconfigure(VM_FILE.replace('"web"', '"other"'))
    await alpha.start(nursery)
    listed = (await alpha.call(VM_LIST, Nothing())).vms
    assert [(entry.vm, entry.configured, entry.state) for entry in listed] == [
        ("other", True, None),
        ("web", False, "idle"),
    ]
    with pytest.raises(ControlError, match="no VM web in the configuration of alpha"):
        await alpha.ask(ENTER)
    await alpha.ask(VM_STOP)


async def test_version(alpha: Host) -> None:
    version = await alpha.call(VERSION, Nothing())
    assert (version.host, version.protocol_version) == ("alpha", PROTOCOL_VERSION)


async def test_one_daemon_per_runtime_dir(alpha: Host, nursery: trio.Nursery) -> None:
    second = Host(alpha.config)
    with pytest.raises(BaseExceptionGroup) as caught:
        async with trio.open_nursery() as own:
            await second.start(own)
    assert caught.group_contains(ControlError, match=r"another process listens on .*ctl\.sock already")
    await alpha.call(VERSION, Nothing())


async def test_start_is_refused_while_one_is_under_way(alpha: Host, misbehave: Misbehave) -> None:
    async with trio.open_nursery() as both:
        outcomes: list[str] = []

        async def start() -> None:
            try:
                await alpha.call(VM_START, ForceParams(vm="web"))
                outcomes.append("started")
            except ControlError as error:
                outcomes.append(error.message)

        both.start_soon(start)
        both.start_soon(start)
    assert sorted(outcomes) == ["start of VM web is under way here; start was not begun", "started"]
