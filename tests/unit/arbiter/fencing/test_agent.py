"""Fence agents: the conventions, with a stand-in and with one of the fence-agents package."""

import shutil
import stat
import time
from pathlib import Path

import pytest

from ftd.arbiter.fencing.agent import Answer, FenceFailed, run_agent, turn_off
from ftd.protocol.control import FenceSpec


def spec(command: str, *options: str, timeout_s: int = 20) -> FenceSpec:
    return FenceSpec(host="beta", command=command, options=list(options), delay_s=0, timeout_s=timeout_s)


def script(folder: Path, text: str) -> str:
    path = folder / "agent"
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return str(path)


async def test_options_come_on_standard_input(tmp_path: Path) -> None:
    command = script(tmp_path, f"[ $# = 0 ] || exit 1; cat > {tmp_path / 'seen'}")
    assert await run_agent(spec(command, "ip=10.0.0.9", "password=a b=c"), "monitor") is Answer.DONE
    assert (tmp_path / "seen").read_text() == "action=monitor\nip=10.0.0.9\npassword=a b=c\n"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("echo 'no route to the device' >&2; exit 1", r"action=off for host beta ended with 1: no route to"),
        ("exit 2", "ended with 2: it said nothing"),
        ("kill -9 $$", r"was killed \(9\)"),
        ("head -c 100000 /dev/zero | tr '\\0' x >&2; exit 3", "ended with 3: x{300}$"),
    ],
)
async def test_failure(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(FenceFailed, match=said):
        await run_agent(spec(script(tmp_path, f"cat > /dev/null; {text}")), "off")


async def test_missing() -> None:
    with pytest.raises(FenceFailed, match=r"/no/such/agent action=off for .* cannot be run: No such file"):
        await turn_off(spec("/no/such/agent"))


async def test_hanging_agent_is_killed(tmp_path: Path) -> None:
    command = script(tmp_path, f"echo $$ > {tmp_path / 'pid'}; exec sleep 600")
    begun = time.monotonic()
    with pytest.raises(FenceFailed, match="did not end within 1 s"):
        await run_agent(spec(command, timeout_s=1), "off")
    assert time.monotonic() - begun < 30
    assert not Path(f"/proc/{(tmp_path / 'pid').read_text().strip()}").exists()


async def test_an_agent_that_does_not_read_its_options(tmp_path: Path) -> None:
    options = [f"option{number}={'x' * 1000}" for number in range(200)]
    assert await run_agent(spec(script(tmp_path, "exit 0"), *options), "off") is Answer.DONE


async def test_off_counts_only_when_the_status_agrees(tmp_path: Path) -> None:
    with pytest.raises(FenceFailed, match="says that host beta is still on after action=off"):
        await turn_off(spec(script(tmp_path, "exit 0")))
    off = script(tmp_path, "grep -q action=status && exit 2; exit 0")
    assert await turn_off(spec(off)) > 0


async def test_an_agent_of_the_fence_agents_package(tmp_path: Path) -> None:
    """Its device is a file that says on or off."""
    command = shutil.which("fence_dummy") or shutil.which("fence_dummy", path="/usr/sbin")
    if command is None:
        pytest.skip("needs fence_dummy of Debian's package fence-agents")
    device = spec(command, f"status_file={tmp_path / 'power'}", timeout_s=60)
    assert await run_agent(device, "on") is Answer.DONE
    assert await run_agent(device, "status") is Answer.DONE
    assert await run_agent(device, "monitor") is Answer.DONE
    await turn_off(device)
    assert await run_agent(device, "status") is Answer.OFF
    broken = spec(command, "type=fail", timeout_s=60)
    with pytest.raises(FenceFailed, match="fence_dummy action=off for host beta ended with 1"):
        await turn_off(broken)
