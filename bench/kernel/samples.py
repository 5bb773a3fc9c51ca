"""The lines that the measuring program (kernel-patches/bench) prints, one JSON object each."""

from collections.abc import Iterable
from typing import Any

import msgspec

from bench.model import NotMeasuredError, Record


class Line(msgspec.Struct, tag_field="kind", frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What all lines share: `kind` says which of the classes below one is."""


class Host(Line, tag="host", frozen=True):
    """Where the figures were taken."""

    release: str
    processor: str
    processors: int
    memory_mib: int
    max_gfns: int
    """KVM_CAP_MEMORY_TRACKING; 0 where the kernel has no memory tracking."""

    def described(self) -> dict[str, str | int]:
        """As bench.report shows a machine."""
        return {
            "processor": self.processor,
            "processors": self.processors,
            "memory_mib": self.memory_mib,
            "kernel": self.release,
        }


class Cycle(Line, tag="cycle", frozen=True):
    """A guest wrote `pages` pages; all vCPUs stopped; the pages were listed and armed again.

    Lines of one `round` were taken one right after the other, and only they are set against each other.
    """

    round: int
    vcpus: int
    memory_mib: int
    pattern: str
    pages: int
    method: str
    cold: bool
    """The method's code had not run since the guest was left: dear where processors are emulated."""
    guest_ns: int
    """From entering the guest to its exit, the slowest vCPU: mostly one write fault a page."""
    harvest_ns: int
    """From all vCPUs being out of KVM_RUN until the page numbers are in an array."""
    total_ns: int
    """Until all of them are armed again, too."""
    listed: int
    """`pages` and the few that hold the guest's own page tables and stacks."""


class Overshoot(Line, tag="overshoot", frozen=True):
    """By how much lists went past their threshold before all vCPUs were out."""

    vcpus: int
    threshold: int
    rounds: int
    over_max: int


class HotSet(Line, tag="hot_set", frozen=True):
    """A guest writing the same pages all the time, stopped `checkpoints` times at a fixed rate."""

    turn: int
    method: str
    pages: int
    rate: int
    """Wanted checkpoints a second."""
    seconds: float
    checkpoints: int
    guest_rounds: int
    pause_ns: int
    """Mean time that the vCPU was out for a checkpoint: list, copy, arm."""


Sample = Host | Cycle | Overshoot | HotSet
_DECODER: msgspec.json.Decoder[Sample] = msgspec.json.Decoder(Sample)


def parse(lines: Iterable[str]) -> list[Sample]:
    """All samples. Raises NotMeasuredError, quoting it, for a line that is none."""
    samples: list[Sample] = []
    for line in lines:
        if not line.strip():
            continue
        try:
            samples.append(_DECODER.decode(line))
        except msgspec.DecodeError as error:
            raise NotMeasuredError(f"the measuring program printed {line.strip()!r}: {error}") from error
    return samples


def record(sample: Sample) -> Record:
    """The sample as it goes into the JSON."""
    what: dict[str, Any] = {"kind": sample.__struct_config__.tag}
    return Record(getattr(sample, "method", "host"), what, msgspec.to_builtins(sample))
