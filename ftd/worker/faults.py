"""Points at which a test can kill this process: those of the data plane, and a few of its own.

And one thing that no signal does: keep the interpreter busy while native threads run.
"""

from __future__ import annotations

import ctypes
import os
import signal
from typing import Final

from ftd.dataplane import core

ENABLE_VARIABLE: Final = "FTD_ENABLE_FAULTS"
POINTS: Final = frozenset(
    {
        "enter.connected",
        "disk.compared",
        "claim.before",
        "claim.won",
        "activate.before-restore",
        "activate.before-run",
        "activate.running",
        "simplex.before-resume",
        "leave.acked",
        "switchover.done",
    }
)
INTERPRETER_BUSY: Final = "interpreter.busy"
"""No point but a state: `nth` milliseconds in which no Python code of this process runs."""
_US_PER_MS: Final = 1000
_armed: dict[str, int] = {}


def enabled() -> bool:
    """Whether this worker was started for fault injection."""
    return os.environ.get(ENABLE_VARIABLE) == "1"


def all_points() -> list[str]:
    """Every name that `arm` takes."""
    return sorted({*POINTS, *core.fault_points()})


def arm(point: str, nth: int) -> bool:
    """Die by SIGKILL at the nth passage of the point. False: there is no such point."""
    if point in POINTS:
        _armed[point] = nth
        return True
    return core.arm_fault(point, nth)


def hold_interpreter(milliseconds: int) -> None:
    """Sleeps with the interpreter's lock held."""
    ctypes.PyDLL(None).usleep(ctypes.c_uint(milliseconds * _US_PER_MS))  # PyDLL: does not release it


def passed(point: str) -> None:
    """Marks the passage of one of POINTS."""
    assert point in POINTS
    if point in _armed:
        _armed[point] -= 1
        if _armed[point] == 0:
            os.kill(os.getpid(), signal.SIGKILL)
