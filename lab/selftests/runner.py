"""Runs tests on hosts: one boot for each kind of machine, and another when a test kills its host."""

import contextlib
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import trio

from lab.errors import LabError
from lab.host.host import KILLED, Host, HostError, running
from lab.host.spec import Spec
from lab.kernel.modules import Modules
from lab.selftests.run_list import Machine, Run, by_machine

SKIPPED: Final = 4
"""Exit status of a test that cannot say anything here (KSFT_SKIP)."""
OUTPUT_LINES_SHOWN: Final = 40
HOSTS_AT_ONCE: Final = 2
UNLOAD: Final = "unload"


@dataclass(frozen=True)
class Result:
    """What became of a run. `reason` is empty for one that passed."""

    run: Run
    outcome: str
    """`ok`, `skipped` or `FAILED`."""
    reason: str
    output: str
    seconds: float

    @property
    def failed(self) -> bool:
        """Neither passed nor skipped."""
        return self.outcome == "FAILED"

    def __str__(self) -> str:
        told = f"{self.outcome:8}{self.run.name:40} {self.seconds:6.1f} s  [{self.run.machine}]"
        return f"{told}  {self.reason}".rstrip()


async def run_all(
    modules: Modules,
    runs: Sequence[Run],
    programs: Mapping[str, Path],
    *,
    on_result: Callable[[Result], object] = lambda result: None,
) -> list[Result]:
    """Runs all, the groups of two machines at a time. `programs` says where each run's program lies.

    Raises LabError when a host does not even boot, MissingError for what the machine lacks.
    """
    results: list[Result] = []
    limit = trio.CapacityLimiter(HOSTS_AT_ONCE)

    async def group(machine: Machine, members: list[Run]) -> None:
        async with limit, contextlib.aclosing(_group(modules, machine, members, programs)) as stream:
            async for result in stream:
                results.append(result)
                on_result(result)

    try:
        async with trio.open_nursery() as nursery:
            for machine, members in by_machine(runs).items():
                nursery.start_soon(group, machine, members)
    except* LabError as errors:
        raise errors.exceptions[0] from None
    return results


async def _group(
    modules: Modules, machine: Machine, runs: list[Run], programs: Mapping[str, Path]
) -> AsyncGenerator[Result, None]:
    spec = Spec(
        modules=modules,
        cpus=machine.cpus,
        memory_mib=machine.memory_mib,
        parameters=machine.parameters,
        boot=machine.boot,
        threads=machine.threads,
        files={f"/selftests/{run.program}": programs[run.program] for run in runs},
    )
    left = list(runs)
    while left:
        async with running(spec) as host:
            alive = True
            while left and alive:
                run = left.pop(0)
                result, alive = await _one(host, run, f"/selftests/{run.program}")
                yield result
            if alive:
                yield await _unload(host, machine)


async def _one(host: Host, run: Run, program: str) -> tuple[Result, bool]:
    before = len(host.trouble)
    began = trio.current_time()
    try:
        done = await host.run([program, *run.arguments], timeout_s=run.timeout_s)
    except HostError as error:
        return Result(run, "FAILED", "the host died", str(error), trio.current_time() - began), False
    output = done.output.decode(errors="replace")
    said = "\n".join(host.trouble[before:])
    if said:
        reason = f"the kernel says: {host.trouble[before]}"
        return Result(run, "FAILED", reason, f"{output}\n{said}", done.seconds), False
    if done.status == SKIPPED:
        last = output.strip().splitlines()[-1:]
        return Result(run, "skipped", last[0] if last else "no reason given", output, done.seconds), True
    reason = ""
    if done.status != 0:
        told = [line for line in output.splitlines() if line.startswith("not ok")]
        reason = told[0] if told else f"exit status {done.status}"
    if done.status == KILLED:
        reason = f"ended at its limit of {run.timeout_s} s"
    return Result(run, "FAILED" if reason else "ok", reason, output, done.seconds), True


async def _unload(host: Host, machine: Machine) -> Result:
    """The modules can be taken out again: nothing that the tests left behind holds them."""
    run = Run(UNLOAD, "rmmod", ("kvm_amd", "kvm"), machine)
    return (await _one(host, run, "/bin/rmmod"))[0]


def tail(output: str) -> str:
    """The end of an output, indented."""
    return "\n".join(f"    {line}" for line in output.rstrip().splitlines()[-OUTPUT_LINES_SHOWN:])
