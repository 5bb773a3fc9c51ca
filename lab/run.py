"""One command on one host, from boot to the judgement of the kernel's log."""

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import trio

from lab.host.host import Finished, running
from lab.host.spec import Spec


@dataclass(frozen=True)
class Taken:
    """What is copied out of the host after the command: paths inside, folder here."""

    paths: Sequence[str]
    into: Path


@dataclass(frozen=True)
class Outcome:
    """How a run ended. `trouble` are the lines of the kernel's log for which a run fails."""

    command: Finished
    kernel_log: str
    trouble: list[str]

    @property
    def ok(self) -> bool:
        """The command ended with 0, and the kernel is well."""
        return self.command.status == 0 and not self.trouble


async def run_on_host(
    spec: Spec,
    command: str | Sequence[str],
    *,
    timeout_s: float = 60,
    taken: Taken | None = None,
    on_output: Callable[[bytes], object] | None = None,
) -> Outcome:
    """Boots a host, runs a command, takes files, kills the host. To be awaited in the main thread.

    Raises LabError: HostError when the host died, MissingError for what the machine lacks.
    """
    async with running(spec) as host:
        finished = await host.run(command, timeout_s=timeout_s, on_output=on_output)
        if taken is not None and taken.paths:
            await host.take(taken.paths, taken.into)
        return Outcome(finished, host.kernel_log, host.trouble)


def run_sync(
    spec: Spec, command: str | Sequence[str], *, timeout_s: float = 60, taken: Taken | None = None
) -> Outcome:
    """`run_on_host` for callers without a loop, with the output copied to standard output."""

    def show(data: bytes) -> None:
        sys.stdout.buffer.write(data)
        sys.stdout.buffer.flush()

    sys.stdout.flush()
    return trio.run(partial(run_on_host, spec, command, timeout_s=timeout_s, taken=taken, on_output=show))
