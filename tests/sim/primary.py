"""The active side of a pair, after ftd/dataplane/cycle.c, steps.c, sender.c and primary.c."""

from __future__ import annotations

import errno
from collections import deque
from typing import TYPE_CHECKING

from ftd.dataplane.core import CycleConfig, LinkConfig
from ftd.dataplane.errors import DataplaneError
from ftd.dataplane.events import EventKind, LostReason
from ftd.protocol.body import Page
from ftd.protocol.frames import HEADER_BYTES, FrameType, Header
from ftd.replication.epochs import EpochAccount
from ftd.replication.first_sync import Verdict, after_slice
from tests.sim.clockwork import MS, SECOND
from tests.sim.frames import Wire, take_header
from tests.sim.heartbeat import Heartbeat
from tests.sim.network import End, Socket, WholeEpoch
from tests.sim.process import Lane

if TYPE_CHECKING:
    from tests.sim.machine import Machine

ECHO_PATIENCE_US = 5 * SECOND
_ALLOWED = frozenset({FrameType.ACK, FrameType.LEAVE_ACK, FrameType.HANDOVER_DONE})


class Primary:
    """Checkpoints a machine. ``account`` is the production code's: it raises when an epoch is out of turn."""

    def __init__(self, machine: Machine, link: LinkConfig, cycle: CycleConfig) -> None:
        self.machine = machine
        self.process = machine.process
        self.generation = link.generation
        self.account = EpochAccount(cycle.epochs_in_flight)
        self.first_sealed = False
        self.lost = False
        self.ending = False
        self.drain_epoch = 0
        self._drained = False
        self._muted = False
        self._stalled = False
        self._sockets: tuple[Socket, Socket] = (link.data, link.heartbeat)  # type: ignore[assignment]
        self._socket = self._sockets[0]
        self.pair = self._socket.connection
        self._wire = Wire.of(link, len(machine.memory))
        self._period_us = cycle.period_ns // 1000
        self._arenas: deque[tuple[FrameType, bytes]] = deque()
        self._control: FrameType | None = None
        self.said_farewell = False
        """LEAVE was queued: the standby may have let go."""
        self._pending = dict.fromkeys(range(len(machine.memory)))
        self._sync_limit = len(machine.memory)
        machine.dirty.clear()
        output = machine.output
        output.watch(link.watchdog * MS)
        self._postponed_us = 0
        self._socket.on_readable = self._wake_io
        self.heartbeat = Heartbeat(self.process, link, self._wire, self.report_lost, output)
        self.process.soon(self._sync_slice, Lane.SENDER)

    # First synchronisation.

    def _sync_slice(self) -> None:
        if self.first_sealed or self.lost or self.ending or self._control is not None:
            return
        batch = list(self._pending)[: self._wire.limits.epoch_pages_max]
        for page in batch:
            del self._pending[page]
        if batch and not self._send(self._wire.build(FrameType.SYNC, pages=self._copy(batch))):
            return
        delay_us = self.process.clockwork.random.randrange(MS, 6 * MS)
        self.process.later(delay_us, lambda: self._sync_stop(len(batch)), Lane.VCPU)

    def _sync_stop(self, sent: int) -> None:
        if self.lost:
            self._give_up()
            return
        if self._muted or self.ending:
            return
        self._pending.update(self.machine.dirty)
        self.machine.dirty.clear()
        if self._postponed_us and not sent:
            self._next_slice()  # all had gone, and epoch 1 still waits for an echo
            return
        decision = after_slice(
            limit_pages=self._sync_limit,
            pending_pages=len(self._pending),
            sent_pages=sent,
            capacity_pages=self._wire.limits.epoch_pages_max,
        )
        self._sync_limit = decision.limit_pages
        self.machine.held_back = decision.verdict is Verdict.THROTTLE
        if decision.verdict is Verdict.SEAL and not self.machine.output.proof_is_old():
            self._seal_first()
            return
        if decision.verdict is Verdict.SEAL and self._link_is_too_slow():
            self.report_lost(LostReason.SLOW, 0)
            return
        self._next_slice()

    def _next_slice(self) -> None:
        self.machine.schedule_step()
        self.process.soon(self._sync_slice, Lane.SENDER)

    def _link_is_too_slow(self) -> bool:
        now_us = self.process.host.boottime_us()
        self._postponed_us = self._postponed_us or now_us
        return now_us - self._postponed_us >= ECHO_PATIENCE_US

    def _seal_first(self) -> None:
        self.machine.dirty = self._pending
        self.first_sealed = True
        self.machine.output.gate()
        self.machine.post(EventKind.FIRST_SEALED, epoch=1)
        self._seal()
        self.machine.schedule_step()
        self.process.later(self._period_us, self._tick, Lane.VCPU)

    # The checkpoint cycle.

    def _tick(self) -> None:
        if self.lost:
            self._give_up()
            return
        if self._muted or self.ending or self._has_last_epoch or not self.machine.runs:
            return
        if not self.account.can_seal:
            self._stalled = True
            self.machine.held_back = True
            return
        self._seal()
        if self.drain_epoch:
            self.machine.parked = True
        else:
            self.process.later(self._period_us, self._tick, Lane.VCPU)

    @property
    def _has_last_epoch(self) -> bool:
        return bool(self.drain_epoch) and self.account.sealed >= self.drain_epoch

    def _seal(self) -> None:
        machine, capacity = self.machine, self._wire.limits.epoch_pages_max
        pages, machine.dirty = list(machine.dirty), {}
        epoch = self.account.seal()
        while len(pages) > capacity:
            part, pages = pages[:capacity], pages[capacity:]
            self._queue(FrameType.PART, self._wire.build(FrameType.PART, epoch, pages=self._copy(part)))
        machine.outside.sealed(machine, self.pair, epoch)
        frame = self._wire.build(
            FrameType.EPOCH,
            epoch,
            state=machine.capture(),
            pages=self._copy(pages),
            stamp_us=self.process.host.boottime_us(),
        )
        whole = WholeEpoch(frame)
        whole.epoch = epoch
        self._queue(FrameType.EPOCH, whole)

    def _copy(self, pages: list[int]) -> tuple[Page, ...]:
        return tuple(Page.of(page, self.machine.memory[page]) for page in pages)

    def _give_up(self) -> None:
        machine = self.machine
        if machine.primary is not self:
            return  # the pair has ended meanwhile
        machine.held_back = False
        if self.first_sealed:
            machine.parked = True  # until it is decided who goes on
        else:
            machine.schedule_step()

    def _room_made(self) -> None:
        if self._stalled:
            self._stalled = False
            self.machine.held_back = False
            self.machine.schedule_step()
            self.process.soon(self._tick, Lane.VCPU)

    # The sender.

    def _queue(self, kind: FrameType, frame: bytes) -> None:
        self._arenas.append((kind, frame))
        self.process.soon(self._send_next, Lane.SENDER)

    def _send_next(self) -> None:
        if self.lost or self.ending:
            return
        if self._arenas:
            kind, frame = self._arenas.popleft()
            if not self._send(frame):
                return
            if kind is FrameType.EPOCH:
                self.account.send()
                self.process.host.network.remember(frame)
            self.process.soon(self._send_next, Lane.SENDER)
        elif self._control is not None:
            control, self._control = self._control, None
            self._send(self._wire.build(control, self.account.sealed))

    def _send(self, frame: bytes) -> bool:
        random = self.process.clockwork.random
        if random.random() < 0.25:
            middle = random.randrange(1, len(frame))
            sent = self._socket.send(frame[:middle]) and self._socket.send(frame[middle:])
        else:
            sent = self._socket.send(frame)
        if not sent:
            self.report_lost(LostReason.RESET, errno.EPIPE)
        return sent

    # Acknowledgements, on the io thread.

    def _wake_io(self) -> None:
        self.process.soon(self._read_acks, Lane.IO)

    def _read_acks(self) -> None:
        inbox = self._socket.inbox
        while not self.lost and not self.ending:
            expected = self._wire.expect(_ALLOWED, last=self.account.acknowledged, sent=self.account.sealed)
            found = take_header(inbox, expected)
            if found is None:
                break
            header, refusal = found
            del inbox[:HEADER_BYTES]
            self.heartbeat.heard()
            if refusal is not None:
                self.report_lost(LostReason.REFUSED, refusal)
            else:
                self._take(header)
        if self._socket.end is not None:
            # The next read finds it; what this one brought is let out before.
            self.process.soon(self._take_end, Lane.IO)
        self.machine.release_output()

    def _take_end(self) -> None:
        closed = self._socket.end is End.CLOSED
        self.report_lost(LostReason.CLOSED if closed else LostReason.RESET, 0)

    def _take(self, header: Header) -> None:
        if header.type == FrameType.ACK:
            self._take_ack(header.epoch)
            return
        acked = header.type == FrameType.LEAVE_ACK
        self.machine.post(EventKind.LEAVE_ACKED if acked else EventKind.HANDED_OVER)
        self.ending = True

    def _take_ack(self, epoch: int) -> None:
        self.machine.outside.acknowledged(self.machine, self.pair, epoch)
        first = not self.account.acknowledged
        self.account.acknowledge(epoch)
        self.machine.output.acknowledged(epoch)
        self._room_made()
        if first:
            self.machine.post(EventKind.PROTECTED, epoch=epoch)

    def check_drained(self) -> None:
        """The last epoch was acknowledged and its output is out."""
        acked = self.account.acknowledged
        if (
            self.drain_epoch
            and not self._drained
            and acked >= self.drain_epoch
            and self.machine.output.drained()
        ):
            self._drained = True
            self.machine.post(EventKind.DRAINED, epoch=acked)

    # Loss, and the ends.

    def report_lost(self, reason: LostReason, detail: int) -> None:
        """Any thread, any number of times; the first reason counts."""
        if self.lost or self.ending:
            return
        self.lost = True
        if self.first_sealed:
            self.machine.output.shut = True
        epoch = max(1, self.account.sealed) if self.first_sealed else 0
        self.machine.post(EventKind.PEER_LOST, reason=reason, epoch=epoch, detail=detail)
        for socket in self._sockets:
            socket.shutdown()
        self.process.soon(self._give_up, Lane.VCPU)

    def leave(self) -> None:
        """Asks the standby to let go. Raises DataplaneError when it is lost."""
        if self.lost:
            raise DataplaneError(errno.EPIPE, "the standby is lost")
        self._muted = True
        self.machine.held_back = False
        self.machine.schedule_step()
        self._control = FrameType.LEAVE
        self.said_farewell = True
        self.process.soon(self._send_next, Lane.SENDER)

    def drain(self) -> None:
        """Stops the guest with a last epoch. Raises DataplaneError when there is no protection."""
        if not self.first_sealed or self.lost:
            raise DataplaneError(errno.EINVAL, "the VM is not protected")
        self.drain_epoch = self.account.sealed + 1
        self.process.soon(self._tick, Lane.VCPU)

    def handover(self) -> None:
        """After DRAINED: nothing of this copy leaves any more."""
        self.machine.output.shut = True
        self._control = FrameType.HANDOVER
        self.process.soon(self._send_next, Lane.SENDER)

    @property
    def acked(self) -> int:
        """Newest epoch that the standby has acknowledged."""
        return self.account.acknowledged

    def end(self, *, release_output: bool, resume_guest: bool) -> None:
        """Ends protection: held output is released, or stays held for good."""
        machine = self.machine
        self.ending = self.lost = True
        self.heartbeat.stop()
        machine.primary = None
        machine.held_back = False
        for socket in self._sockets:
            socket.close()
        if release_output:
            machine.output.ungate()
            machine.wake_io()
        else:
            machine.output.shut = True
        if resume_guest and machine.runs:
            machine.resume()
