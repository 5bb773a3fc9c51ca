"""A host of the lab: what comes back from it, and how it ends."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import trio

from lab.host.host import KILLED, HostError, running
from lab.host.spec import Spec
from lab.kernel.modules import Modules
from lab.run import run_on_host

pytestmark = [pytest.mark.lab, pytest.mark.timeout(240)]


async def test_commands_have_their_output_and_status(modules: Modules, tmp_path: Path) -> None:
    brought = tmp_path / "brought"
    brought.write_text("from outside\n")
    spec = Spec(modules, parameters=("kvm.tdp_mmu=N",), memory_mib=512, files={"/in/brought": brought})
    seen: list[bytes] = []
    async with running(spec) as host:
        streamed = await host.run("echo one; echo two >&2; exit 3", on_output=seen.append)
        assert (streamed.status, streamed.output) == (3, b"one\ntwo\n")
        assert b"".join(seen) == streamed.output
        assert (await host.run("printf 'no end of line'")).output == b"no end of line"
        assert (await host.run(["cat", "/in/brought"])).output == b"from outside\n"
        assert (await host.run("cat /sys/module/kvm/parameters/tdp_mmu")).output == b"N\n"
        assert (await host.run("nproc; test -c /dev/kvm")).output == b"2\n"
        assert (await host.run("sleep 100", timeout_s=1)).status == KILLED

        await host.run("mkdir -p /out/deep; head -c 3000000 /dev/urandom >/out/deep/big; echo x >/out/small")
        await host.take(["/out/deep", "/out/small"], tmp_path / "first")
        await host.take(["/out/small"], tmp_path / "second")
        assert (tmp_path / "first/out/deep/big").stat().st_size == 3_000_000
        assert (tmp_path / "second/out/small").read_text() == "x\n"
        assert host.trouble == []


async def test_a_warning_of_the_kernel_fails_the_run(modules: Modules) -> None:
    outcome = await run_on_host(Spec(modules, memory_mib=512), "echo 'WARNING: made up' >/dev/kmsg")
    assert outcome.command.status == 0
    assert not outcome.ok
    assert "WARNING: made up" in outcome.trouble[0]


async def test_the_death_of_the_kernel_is_told(modules: Modules) -> None:
    with pytest.raises(HostError, match="sysrq triggered crash"):
        await run_on_host(Spec(modules, memory_mib=512), "echo c >/proc/sysrq-trigger; sleep 50")


async def test_a_frozen_host_stands_still(modules: Modules) -> None:
    async with running(Spec(modules, memory_mib=512)) as host:
        host.freeze()
        with trio.move_on_after(2) as scope:
            await host.run("true")
        assert scope.cancelled_caught
        host.thaw()


def test_the_emulator_dies_with_its_parent(modules: Modules) -> None:
    command = [sys.executable, "-m", "lab", "run", "--memory", "512", "--", "echo started; sleep 100"]
    parent = subprocess.Popen(command, stdout=subprocess.PIPE, bufsize=0, cwd=Path(__file__).parents[2])
    assert parent.stdout is not None
    try:
        # Not a line: its end is held back, since the mark that ends all output begins with one.
        assert parent.stdout.read(len(b"started")) == b"started"
        (emulator,) = _children(parent.pid)
    finally:
        parent.send_signal(signal.SIGKILL)
        parent.stdout.close()
        parent.wait()
    deadline_s = time.monotonic() + 10
    while _alive(emulator):
        assert time.monotonic() < deadline_s, "the emulator outlives the process that started it"
        time.sleep(0.05)


def _children(pid: int) -> list[int]:
    return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True
