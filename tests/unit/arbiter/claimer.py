"""A process that claims: reads expected generations, one a line, and prints what became of each claim.

claimer.py DIRECTORY VM_ID HOLDER [STEP SIGNAL]     at the end of STEP it sends itself SIGNAL
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

import trio

from ftd.arbiter.contract import ArbiterUnreachable, Won
from ftd.arbiter.local import LocalArbiter


def claim_id(holder: str, expected: int) -> bytes:
    return f"{holder}:{expected}".encode().ljust(16, b".")


def main(directory: str, vm_id: str, holder: str, step: str = "", signal_name: str = "SIGKILL") -> None:
    def fault(reached: str) -> None:
        if reached == step:
            os.kill(os.getpid(), signal.Signals[signal_name])

    arbiter = LocalArbiter(Path(directory), fault=fault)
    for line in sys.stdin:
        expected = int(line)
        try:
            answer = trio.run(arbiter.claim, vm_id, expected, holder, claim_id(holder, expected))
        except ArbiterUnreachable as error:
            print(f"unreachable {error.reason}", flush=True)
            continue
        word = "won" if isinstance(answer, Won) else "lost"
        print(word, answer.record.generation, answer.record.holder, flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
