"""Every fault of a drill, on real daemons and a real guest; and drills that may not begin, or not end."""

import fcntl
import json
import signal
from dataclasses import replace
from pathlib import Path
from typing import Final

import pytest
import trio

from ftd.drill.catalogue import FAULTS
from ftd.drill.local_pair import Guest
from ftd.errors import ControlError
from ftd.protocol.control import VmParams
from ftd.protocol.control_operator import LEAVE
from tests.failover.drilling import GUEST, Ground, ground, tables
from tests.failover.processes import state_of
from tests.failover.test_fencing import Switch

pytestmark = pytest.mark.timeout(180)
# The guest's heartbeat timeout, shorter than which silence cannot be noticed.
SILENCE_MS: Final = GUEST.replication["heartbeat_timeout_ms"]
# The host that runs the guest afterwards; None: either.
SURVIVORS: Final = {
    "kill-worker": "beta",
    "kill-daemon": "alpha",
    "freeze": "beta",
    "cut-link": None,
    "one-way": None,
    "corrupt-stream": None,
    "standby-loss": "alpha",
    "arbiter-loss": "alpha",
    "switchover": "beta",
}
BY_SILENCE: Final = {"freeze", "cut-link", "one-way"}


def test_every_fault_is_drilled() -> None:
    assert SURVIVORS.keys() | {"power-off"} == FAULTS.keys()


@pytest.mark.parametrize("fault", SURVIVORS)
async def test_a_drill(fault: str) -> None:
    async with ground() as scene, trio.open_nursery() as nursery:
        nursery.start_soon(scene.supervise, scene.alpha)
        code, said, report = await scene.drill(fault)
        nursery.cancel_scope.cancel()
        assert code == 0, said
        assert f"drill of VM guest, {fault}: passed" in said
        record, figures = report["record"], report["figures"]
        assert record["survivor"] in ({"alpha", "beta"} if SURVIVORS[fault] is None else {SURVIVORS[fault]})
        assert record["active_at_end"] == [record["survivor"]]
        assert not record["asked_to_protect"], "it is protected again by itself"
        assert record["answers"]["lost"] == 0
        assert record["answers"]["answered"] > 100
        moved = FAULTS[fault].moves_generation
        assert record["generation_after"] == (2 if moved else 1)
        assert (figures["activation_ms"] is not None) is moved
        if fault in BY_SILENCE:
            assert figures["detection_ms"] > SILENCE_MS / 2
        await is_as_it_should_be(scene, record["survivor"])


async def test_power_off(tmp_path: Path) -> None:
    """On the standby's host: the device turns the other off, and on again once the guest runs here."""
    switch = Switch(tmp_path)
    # Else there may be a worker again before the switch, which knows workers only, is asked for its status.
    by_hand = replace(GUEST, reprotect=False)
    async with ground(by_hand, peer_table=switch.table()) as scene:
        path = scene.reports / "power-off.html"
        running = await scene.start("power-off", "--yes", "--report", str(path), host=scene.beta)
        assert await running.ends() == 0, running.said
        assert switch.asked() == ["off alpha", "status alpha", "on alpha"]
        record = json.loads(path.with_suffix(".json").read_text())["record"]
        assert (record["guest_on"], record["host"], record["survivor"]) == ("alpha", "beta", "beta")
        assert record["answers"]["lost"] == 0
        await is_as_it_should_be(scene, "beta")


async def test_power_off_by_a_device_that_lies(tmp_path: Path) -> None:
    """The guest was not touched: a sentence, no failover, and the host is turned on in any case."""
    switch = Switch(tmp_path)
    async with ground(peer_table=switch.table("stuck=yes")) as scene:
        running = await scene.start("power-off", "--yes", host=scene.beta)
        assert await running.ends() == 1
        await running.says("says that host alpha is still on after action=off. It may have acted")
        assert switch.asked() == ["off alpha", "status alpha", "on alpha"]
        await scene.undisturbed()


async def test_a_vm_that_is_not_protected_again_by_itself() -> None:
    """The drill does what an operator would, and says so."""
    async with ground(Guest(memory_mib=64, replication={"heartbeat_timeout_ms": 2000})) as scene:
        code, said, report = await scene.drill("switchover")
        assert code == 0, said
        assert "not protected by itself within 5 s: enters on beta" in said
        assert report["record"]["asked_to_protect"]
        await is_as_it_should_be(scene, "beta")


async def is_as_it_should_be(scene: Ground, survivor: str) -> None:
    """Protected, nothing stopped, no rules, no notes."""
    host = scene.alpha if survivor == "alpha" else scene.beta
    await scene.pair.wait_for_state(host, "protected")
    other = await scene.pair.wait_for_state(scene.pair.peer_of(host), "standby")
    assert state_of(other.pid) in "RS"
    assert "ftd_drill" not in tables()
    assert scene.left() == []


async def test_a_dry_run_changes_nothing() -> None:
    async with ground() as scene:
        before = await scene.alpha.status("guest")
        for fault in ("freeze", "cut-link", "arbiter-loss", "kill-worker"):
            running = await scene.start(fault, "--dry-run")
            assert await running.ends() == 0
            await running.says("step 1: observe")
            await running.says("judge:")
        after = await scene.alpha.status("guest")
        assert before is not None
        assert after is not None
        assert (before.pid, before.history) == (after.pid, after.history)
        assert before.counters["input_bytes"] == after.counters["input_bytes"]
        await scene.undisturbed()


SLOW: Final = Guest(memory_mib=64, replication={"heartbeat_timeout_ms": 30_000})
STRUCK: Final = {
    "freeze": ("SIGSTOP to", "thawed process"),
    "cut-link": ("nftables on alpha drop", "removed the rules"),
    "arbiter-loss": ("holds ", "let go of"),
}


@pytest.mark.parametrize(
    ("fault", "number"),
    [*((fault, signal.SIGINT) for fault in STRUCK), ("freeze", signal.SIGTERM)],
)
async def test_a_drill_that_is_interrupted_undoes_what_it_did(fault: str, number: signal.Signals) -> None:
    async with ground(SLOW) as scene:
        struck, undone = STRUCK[fault]
        running = await scene.start(fault, "--yes", "--hold", "60")
        await running.says(struck)
        assert await running.interrupted(number) == 130
        await running.says(undone)
        await running.says("interrupted after the fault: what lasted of it is undone")
        assert scene.left() == []
        await scene.undisturbed()


async def test_a_drill_that_is_interrupted_before_the_fault() -> None:
    async with ground() as scene:
        running = await scene.start("kill-worker", "--yes")
        await running.says("observes")
        assert await running.interrupted(signal.SIGINT) == 130
        await running.says("interrupted before the fault: nothing was done")
        await scene.undisturbed()


async def test_what_a_killed_drill_left_is_undone_by_the_next() -> None:
    async with ground(SLOW) as scene:
        running = await scene.start("freeze", "--yes")
        await running.says("SIGSTOP to")
        await stopped(await scene.alpha_pid(), True)
        await running.interrupted(signal.SIGKILL)
        await stopped(await scene.alpha_pid(), True)
        assert len(scene.left()) == 1
        following = await scene.start("kill-worker", "--dry-run")
        assert await following.ends() == 1
        await following.says("is still to be undone")
        following = await scene.start("arbiter-loss", "--yes")
        await following.says("thawed process")
        assert await following.ends() == 0, following.said
        await scene.undisturbed()


async def stopped(pid: int, wanted: bool) -> None:
    with trio.fail_after(10):
        while (state_of(pid) == "T") is not wanted:
            await trio.sleep(0.01)


async def test_twice_at_once() -> None:
    async with ground(SLOW) as scene:
        running = await scene.start("arbiter-loss", "--yes", "--hold", "60")
        await running.says("holds ")
        second = await scene.start("kill-worker", "--yes")
        assert await second.ends() == 1
        await second.says(f"another drill of VM guest runs here (arbiter-loss, pid {running.process.pid}")
        assert await running.interrupted(signal.SIGINT) == 130
        await scene.undisturbed()


async def test_of_an_unprotected_vm() -> None:
    async with ground(protected=False) as scene:
        for fault in SURVIVORS:
            running = await scene.start(fault, "--yes")
            assert await running.ends() == 1
            await running.says("is idle on alpha, not protected")
        status = await scene.alpha.status("guest")
        assert status is not None
        assert (status.state, status.generation, status.history) == ("idle", 1, ())


async def test_a_fault_that_cannot_be_inflicted() -> None:
    """Found out only when it is tried: a sentence, and nothing was done."""
    async with ground() as scene:
        [record] = scene.pair.arbiter.glob("*.json")
        running = await scene.start("arbiter-loss", "--yes")
        await running.says("observes")
        with record.with_suffix(".lock").open("a") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            assert await running.ends() == 1
        await running.says("ftctl: cannot lock")
        assert "Traceback" not in running.said
        await scene.undisturbed()


async def test_refusals() -> None:
    """Wrong host, unknown VM, no word of assent, no fence, a guest that does not answer: nothing changes."""
    async with ground() as scene:
        for options, host, vm, code, sentence in (
            (["--yes"], scene.beta, "", 1, "runs on host alpha, not on beta: start the drill there"),
            (["--yes", "--if-here"], scene.beta, "", 0, "runs on host alpha"),
            (["--yes"], scene.alpha, "ghost", 2, "no VM ghost"),
            ([], scene.alpha, "", 1, "confirm it with --yes"),
            (["--yes", "--probe", "echo:127.0.0.1:9"], scene.alpha, "", 1, "the probe finds no answer"),
            (["--yes", "--probe", "icmp"], scene.alpha, "", 2, "--probe 'icmp' is neither"),
        ):
            running = await scene.start("kill-worker", *options, host=host, vm=vm)
            assert await running.ends() == code, running.said
            await running.says(sentence)
        running = await scene.start("power-off", "--yes", host=scene.beta)
        assert await running.ends() == 2
        await running.says("power-off takes a fence device for host alpha, and none is configured")
        running = await scene.start("power-off", "--yes")
        assert await running.ends() == 1
        await running.says("starts on the host that has the standby, and alpha has none")
        await scene.undisturbed()


async def test_an_arbiter_that_is_away_is_no_time_for_a_drill() -> None:
    async with ground() as scene:
        elsewhere = scene.pair.arbiter.with_name("away")
        scene.pair.arbiter.rename(elsewhere)
        running = await scene.start("kill-worker", "--yes")
        assert await running.ends() == 1
        await running.says("the arbiter does not answer host alpha")
        elsewhere.rename(scene.pair.arbiter)
        await scene.undisturbed()


async def test_a_standby_host_without_ftd() -> None:
    async with ground() as scene:
        await scene.beta.stop_daemon()
        running = await scene.start("kill-worker", "--yes")
        assert await running.ends() == 1
        await running.says("what beta has of it is not known")
        await scene.beta.start_daemon()
        await scene.undisturbed()


async def test_a_daemon_that_nobody_starts_again_fails_the_drill() -> None:
    """And the guest never notices."""
    async with ground() as scene:
        running = await scene.start("kill-daemon", "--yes", "--report", str(scene.reports))
        await running.says("failed: ftd was not started again")
        assert await running.ends() == 1
        [path] = scene.reports.glob("*.json")
        assert "is it supervised" in json.loads(path.read_text())["record"]["problem"]
        await scene.alpha.kill_daemon()
        await scene.alpha.start_daemon()
        await scene.undisturbed()


async def test_a_vm_that_is_left_before_the_fault() -> None:
    """Between the checks and the fault an operator ends protection: the guest is not struck."""
    async with ground() as scene:
        running = await scene.start("kill-worker", "--yes")
        await running.says("observes")
        await scene.alpha.call(LEAVE, VmParams(vm="guest"))
        assert await running.ends() == 1
        await running.says("not protected any more when the fault was due; nothing was done")
        status = await scene.alpha.status("guest")
        assert status is not None
        assert status.state == "idle"
        with pytest.raises(ControlError, match="not protected"):
            await scene.alpha.call(LEAVE, VmParams(vm="guest"))
