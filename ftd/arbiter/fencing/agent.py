"""Runs a fence agent: options `name=value`, one a line, on standard input; the answer is its exit code.

    action    0               2             anything else
    off, on   done            -             failed
    status    the host is on  it is off     failed
    monitor   device answers  -             failed

Options stand on standard input, not among the arguments, because a password may be among them.
"""

from __future__ import annotations

import enum
from typing import Final, Literal

import trio

from ftd.arbiter.fencing.proof import now_ns
from ftd.protocol.control import FenceSpec

Action = Literal["off", "on", "status", "monitor"]
SAID_CHARACTERS: Final = 300
_OFF_EXIT_CODE: Final = 2


class Answer(enum.Enum):
    """What an agent may answer."""

    DONE = enum.auto()
    """Of `status`: the host is on."""
    OFF = enum.auto()
    """`status` only."""


class FenceFailed(Exception):
    """No answer that counts. The message says what was run, on what, and why it failed."""


async def run_agent(spec: FenceSpec, action: Action) -> Answer:
    """One action. Raises FenceFailed when the agent is missing, fails, or takes longer than it may."""
    what = f"{spec.command} action={action} for host {spec.host}"
    lines = "".join(f"{line}\n" for line in (f"action={action}", *spec.options))
    try:
        with trio.fail_after(spec.timeout_s):
            # It is killed when the time is over: what it still does later would be nobody's decision.
            ended = await trio.run_process(
                [spec.command],
                stdin=lines.encode(),
                capture_stdout=True,
                capture_stderr=True,
                check=False,
                deliver_cancel=_kill,
            )
    except trio.TooSlowError as error:
        raise FenceFailed(f"{what} did not end within {spec.timeout_s} s") from error
    except OSError as error:
        raise FenceFailed(f"{what} cannot be run: {error.strerror}") from error
    if ended.returncode == 0:
        return Answer.DONE
    if ended.returncode == _OFF_EXIT_CODE and action == "status":
        return Answer.OFF
    said = (ended.stderr or ended.stdout).decode(errors="replace").strip()[-SAID_CHARACTERS:]
    how = f"ended with {ended.returncode}" if ended.returncode > 0 else f"was killed ({-ended.returncode})"
    raise FenceFailed(f"{what} {how}: {said or 'it said nothing'}")


async def turn_off(spec: FenceSpec) -> int:
    """Turns the host off, and makes sure of it. Returns a moment after which it was off, in nanoseconds of
    CLOCK_BOOTTIME. Raises FenceFailed unless it is off."""
    await run_agent(spec, "off")
    asked_ns = now_ns()
    # Asked once more: with some devices `off` only says that the request was taken.
    if await run_agent(spec, "status") is not Answer.OFF:
        raise FenceFailed(f"{spec.command} says that host {spec.host} is still on after action=off")
    return asked_ns


async def _kill(process: trio.Process) -> None:
    process.kill()
