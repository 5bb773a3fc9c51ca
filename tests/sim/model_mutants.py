"""Faults in the models of the C code."""

from __future__ import annotations

from typing import Any

from ftd.protocol.frames import FrameType, Header
from ftd.replication.epochs import OutputGate
from tests.sim.heartbeat import Heartbeat
from tests.sim.output import Output
from tests.sim.planting import Mutant, Planting
from tests.sim.primary import Primary
from tests.sim.process import Lane
from tests.sim.standby import Standby


def _released_early(planting: Planting) -> None:
    right = OutputGate.release
    planting.attribute(OutputGate, "release", lambda gate, up_to: right(gate, up_to + 1))


def _gate_never_shuts(planting: Planting) -> None:
    planting.attribute(Output, "gate", lambda output: None)


def _ack_before_verify(planting: Planting) -> None:
    right = Standby._acknowledge

    def header_came(standby: Standby, header: Header) -> None:
        if header.type == FrameType.EPOCH and header.epoch > getattr(standby, "early", 0):
            standby.early = header.epoch  # type: ignore[attr-defined]
            right(standby, header)

    planting.attribute(Standby, "_header_came", header_came)
    planting.attribute(Standby, "_acknowledge", lambda standby, header: None)


def _part_applied_at_once(planting: Planting) -> None:
    right = Standby._stage

    def stage(standby: Standby, header: Header, pages: Any, state: bytes) -> None:
        standby._apply(pages)
        right(standby, header, pages, state)

    planting.attribute(Standby, "_stage", stage)


def _received_epochs_dropped(planting: Planting) -> None:
    def commit(standby: Standby, epoch: int, state: bytes) -> None:
        if not standby._stopping and not standby._lost:
            right(standby, epoch, state)

    right = Standby._commit
    planting.attribute(Standby, "_commit", commit)


def _no_doubt(planting: Planting) -> None:
    planting.attribute(Output, "in_doubt", lambda output: False)


def _old_echo_is_proof(planting: Planting) -> None:
    right = Output.proof
    planting.attribute(Output, "proof", lambda output, stamp_us: right(output, output._clock()))


def _echo_long_ago_is_proof(planting: Planting) -> None:
    right = Output.watch
    planting.attribute(Output, "watch", lambda output, proof_max_us: right(output, 4 * proof_max_us))


def _not_outwaited(planting: Planting) -> None:
    planting.attribute(Standby, "outwait", lambda standby: None)


def _time_of_day(planting: Planting) -> None:
    planting.attribute(Heartbeat, "clock_us", lambda heartbeat: heartbeat._process.host.wall_us())


def _beats_in_the_interpreter(planting: Planting) -> None:
    planting.attribute(Heartbeat, "lane", Lane.INTERPRETER)


def _drained_too_soon(planting: Planting) -> None:
    def drain(primary: Primary) -> None:
        primary.machine.parked = True
        primary.drain_epoch = primary.account.sealed

    planting.attribute(Primary, "drain", drain)


MODEL_MUTANTS: dict[str, Mutant] = {
    "output-released-early": Mutant("output of k waits for the acknowledgement of k", _released_early),
    "gate-never-shuts": Mutant("from epoch 1 on output waits", _gate_never_shuts),
    "ack-before-verify": Mutant("an ACK says that all of k is here and right", _ack_before_verify),
    "part-applied-at-once": Mutant("the image holds whole epochs only", _part_applied_at_once),
    "received-epochs-dropped": Mutant("a whole epoch is never lost", _received_epochs_dropped),
    "watchdog-dropped": Mutant("output needs a young echo", _no_doubt),
    "watchdog-counts-from-the-echo": Mutant("an echo proves what was at its stamp", _old_echo_is_proof),
    "watchdog-outlasts-the-timeout": Mutant(
        "output stops before the other may go on", _echo_long_ago_is_proof
    ),
    "primary-not-outwaited": Mutant(
        "a standby that gives up waits until the other is silent", _not_outwaited
    ),
    "silence-by-time-of-day": Mutant("a clock that is set is no reason to fail over", _time_of_day),
    "heartbeats-in-the-interpreter": Mutant(
        "a busy interpreter is no reason either", _beats_in_the_interpreter
    ),
    "drain-without-a-last-epoch": Mutant("HANDOVER follows the guest's last epoch", _drained_too_soon),
}
