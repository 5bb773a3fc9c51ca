"""`ftctl drill` on a pair: two machines, an etcd between them, a power switch for both."""

import json
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import trio

from ftd.protocol.control import VmParams
from ftd.protocol.control_operator import ENTER, VM_START, ForceParams
from lab.errors import LabError
from lab.kernel.modules import Modules
from lab.pair import power
from lab.pair.configuration import Configuration, ledger
from lab.pair.member import Member
from lab.pair.pair import Pair, PairSpec

VM: Final = "ledger"
REPORT: Final = "/root/drill.html"
POLL_S: Final = 0.25
PROTECTED_WITHIN_S: Final = 120.0
PROTECTED_AGAIN_WITHIN_S: Final = 300
"""Patience: a host that is emulated needs seconds to start a Python program, and half a minute to boot."""
BLACKOUT_MAX_MS: Final = 30_000
DEADLINE_S: Final = 600.0


@dataclass(frozen=True)
class Drilled:
    """How a drill ended. `page` is its report, `judged` the JSON beside it; neither if it did not begin."""

    status: int
    said: str
    page: str = ""
    judged: dict[str, Any] | None = None


def spec(modules: Modules, *, heartbeat_timeout_ms: int = 1000) -> PairSpec:
    """Hosts for drills: a ledger to protect, and a fence device."""
    guest = ledger(heartbeat_timeout_ms=heartbeat_timeout_ms)
    configuration = Configuration({VM: guest}, peer_lines=power.peer_table)
    return PairSpec(modules, configuration, files={power.INSIDE: power.AGENT})


async def drill(pair: Pair, fault: str, on_output: Callable[[bytes], object] | None = None) -> Drilled:
    """Starts the ledger on alpha, protects it, and drills it. Both hosts are up, without a guest.

    Raises LabError, ControlError.
    """
    switch = power.PowerSwitch(pair)
    async with trio.open_nursery() as nursery:
        await nursery.start(switch.serve)
        await pair.alpha.call(VM_START, ForceParams(vm=VM, force=True))
        await pair.alpha.call(ENTER, VmParams(vm=VM))
        await _protected(pair)
        # Who has the other host turned off has to outlive that.
        where = pair.beta if fault == "power-off" else pair.alpha
        words = ["ftctl", "drill", VM, "--fault", fault, "--yes", "--report", REPORT]
        words += [f"--blackout-max-ms={BLACKOUT_MAX_MS}", f"--protect-within={PROTECTED_AGAIN_WITHIN_S}"]
        done = await where.run(words, timeout_s=DEADLINE_S, on_output=on_output)
        said = done.output.decode(errors="replace")
        page, judged = await _report(where)
        nursery.cancel_scope.cancel()
    return Drilled(done.status, said, page, judged)


async def _protected(pair: Pair) -> None:
    with trio.move_on_after(PROTECTED_WITHIN_S):
        while True:
            found = [await member.status(VM) for member in pair.members]
            if [status.state if status else "" for status in found] == ["protected", "standby"]:
                return
            await trio.sleep(POLL_S)
    raise LabError(f"the ledger was not protected within {PROTECTED_WITHIN_S:.0f} s\n{await pair.logs()}")


async def _report(member: Member) -> tuple[str, dict[str, Any] | None]:
    with tempfile.TemporaryDirectory() as name:
        data = Path(REPORT).with_suffix(".json")
        try:
            await member.take([REPORT, str(data)], Path(name))
        except LabError:
            return "", None
        page, text = (Path(name) / path.relative_to("/") for path in (Path(REPORT), data))
        return page.read_text(), json.loads(text.read_text())
