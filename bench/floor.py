"""Runs the floor and the bare TCP copy."""

import json
import os
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.model import NotMeasuredError, Run, Workload

# The product keeps what serves a pair off the processors that run vCPUs, where others are left (placement.h).
# The floor does as the product does: it is to have no other advantage or handicap than being bare.
PLACEMENT = ("--pin",)
# And it keeps idle processors awake (ftd/worker/wakefulness.py).
LATENCY = ("--low-latency",)
START_UP_S = 60
STEPS = ("state", "harvest", "copy", "rearm", "wake")


@dataclass(frozen=True)
class Floor:
    """The bare loop, as a side of the bench."""

    program: Path
    image: Path
    name: str = "floor"

    def run(self, workload: Workload) -> Run:
        if workload.hot_set:
            raise NotMeasuredError("the floor has no hot set")
        result = _run_json(self._command(workload), workload.seconds + START_UP_S)
        if workload.rate is None:
            return Run(rounds_per_second=result["rounds_per_second"])
        return Run(
            rounds_per_second=result["rounds_per_second"],
            acked_per_second=result["acked_per_second"],
            pages_per_epoch=result["pages_per_epoch"],
            pause_p50_us=result["pause_us"]["p50"],
            pause_p99_us=result["pause_us"]["p99"],
            stalls=result["stalls"],
            steps_us={name: result[f"{name}_us"]["mean"] for name in STEPS},
        )

    def _command(self, workload: Workload) -> list[str]:
        pages, spin, working_set = workload.guest_args
        options = {
            "image": self.image,
            "seconds": workload.seconds,
            "memory-mib": workload.memory_mib,
            "pages": pages,
            "spin": spin,
            "working-set": working_set,
            "vcpus": workload.vcpus,
            "tracker": workload.tracker,
        }
        command = [str(self.program)]
        if workload.vcpus < (os.cpu_count() or 1):
            command += PLACEMENT
        command += LATENCY
        for name, value in options.items():
            command += [f"--{name}", str(value)]
        if workload.irqchip:
            command.append("--irqchip")
        if workload.rate is None:
            return [*command, "--unprotected"]
        return [*command, "--rate", str(workload.rate)]


def tcp_copy_bytes_per_second(
    program: Path, memory_mib: int, *, untouched: bool = False, spared: int = 0
) -> float:
    """How fast a bare loop copies this much memory over loopback TCP.

    `untouched`: into memory whose pages come into being as the bytes come in, as a new standby's do.
    `spared`: so many processors are left to others, if there are more than that.
    """
    command = [str(program), "--mib", str(memory_mib), *(["--untouched"] if untouched else [])]
    processors = sorted(os.sched_getaffinity(0))
    if spared:
        used = processors[: max(len(processors) - spared, 1)]
        command = ["taskset", "--cpu-list", ",".join(map(str, used)), *command]
    return float(_run_json(command, START_UP_S + memory_mib // 32)["bytes_per_second"])


def _run_json(command: list[str], timeout_s: float) -> dict[str, Any]:
    try:
        result = subprocess.run(command, capture_output=True, text=True, timeout=timeout_s, check=False)
    except subprocess.TimeoutExpired as error:
        raise NotMeasuredError(f"{command[0]} did not end within {timeout_s} s") from error
    if result.returncode != 0:
        raise NotMeasuredError(f"{command[0]} failed: {result.stderr.strip()}")
    parsed: dict[str, Any] = json.loads(result.stdout)
    return parsed
