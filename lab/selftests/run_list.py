"""Lists of test runs: which program, with which arguments, on a host with which processors and parameters.

A line is `NAME: cpus=2 memory=1024 params=kvm.tdp_mmu=N,kvm_amd.npt=0 timeout=60 -- PROGRAM ARGUMENTS`. All
settings may be left out; `memory` is in MiB, `timeout` in seconds, and `boot=hugepages=64` gives words for
the kernel's command line; `threads=multi` lets the processors run at once (see `lab.host.spec`). What
follows a `#` is a comment.
"""

import re
import shlex
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from lab.errors import LabError

_LINE: Final = re.compile(r"(?P<name>[\w./-]+):(?P<settings>[^:]*?)(?:^|\s)--\s+(?P<command>\S.*)")
_SETTINGS: Final = frozenset({"boot", "cpus", "memory", "params", "threads", "timeout"})


@dataclass(frozen=True)
class Machine:
    """What the runs of one boot have in common."""

    cpus: int = 2
    memory_mib: int = 1024
    parameters: tuple[str, ...] = ()
    boot: tuple[str, ...] = ()
    threads: str = "single"

    def __str__(self) -> str:
        return " ".join(
            [f"{self.cpus} cpus, {self.memory_mib} MiB", *self.parameters, *self.boot, *self._multi()]
        )

    def _multi(self) -> list[str]:
        return [] if self.threads == "single" else [f"threads={self.threads}"]


@dataclass(frozen=True)
class Run:
    """One test: a program that is to end with 0 (or 4: skipped, as the kernel's own tests do)."""

    name: str
    program: str
    arguments: tuple[str, ...] = ()
    machine: Machine = Machine()
    timeout_s: int = 60


def read(path: Path) -> list[Run]:
    """The runs of a list. Raises LabError naming file and line of what is no run."""
    runs: list[Run] = []
    for number, line in enumerate(path.read_text().splitlines(), 1):
        text = line.partition("#")[0].strip()
        if not text:
            continue
        try:
            runs.append(_parse(text))
        except ValueError as error:
            raise LabError(f"{path}, line {number}: {error}") from error
    names = [run.name for run in runs]
    for name in names:
        if names.count(name) > 1:
            raise LabError(f"{path}: there are two runs called {name}")
    return runs


def by_machine(runs: Iterable[Run]) -> dict[Machine, list[Run]]:
    """One boot for each machine, in the order in which the list first names it."""
    groups: dict[Machine, list[Run]] = {}
    for run in runs:
        groups.setdefault(run.machine, []).append(run)
    return groups


def _parse(text: str) -> Run:
    match = _LINE.fullmatch(text)
    if match is None:
        raise ValueError("a run is `NAME: cpus=2 params=kvm.tdp_mmu=N timeout=60 -- PROGRAM ARGUMENTS`")
    settings = dict(_setting(word) for word in match["settings"].split())
    program, *arguments = shlex.split(match["command"])
    machine = Machine(
        cpus=int(settings.get("cpus", Machine.cpus)),
        memory_mib=int(settings.get("memory", Machine.memory_mib)),
        parameters=_words(settings, "params"),
        boot=_words(settings, "boot"),
        threads=settings.get("threads", Machine.threads),
    )
    timeout_s = int(settings.get("timeout", Run.timeout_s))
    return Run(match["name"], program, tuple(arguments), machine, timeout_s)


def _words(settings: Mapping[str, str], name: str) -> tuple[str, ...]:
    return tuple(word for word in settings.get(name, "").split(",") if word)


def _setting(word: str) -> tuple[str, str]:
    name, equals, value = word.partition("=")
    if not equals or name not in _SETTINGS:
        raise ValueError(f"`{word}` is none of the settings {', '.join(sorted(_SETTINGS))}")
    return name, value
