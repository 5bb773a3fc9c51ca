"""The standby side of a pair, after ftd/dataplane/standby.c: stage, verify, acknowledge, commit."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ftd.dataplane.core import LinkConfig
from ftd.dataplane.events import EventKind, LostReason
from ftd.protocol import body as production_body
from ftd.protocol.body import Page
from ftd.protocol.frames import HEADER_BYTES, FrameType, Header
from ftd.protocol.refusal import Refusal
from tests.sim.frames import Wire, take_header
from tests.sim.heartbeat import Heartbeat
from tests.sim.network import End, Socket
from tests.sim.process import Lane
from tests.sim.trio_stand_in import Pending

if TYPE_CHECKING:
    from tests.sim.machine import Machine

_T = FrameType
_ALLOWED = frozenset({_T.SYNC, _T.EPOCH, _T.PART, _T.LEAVE, _T.HANDOVER})


class Standby:
    """Receives a guest into a machine's memory."""

    def __init__(self, machine: Machine, link: LinkConfig) -> None:
        self.machine = machine
        self.generation = link.generation
        self._sockets: tuple[Socket, Socket] = (link.data, link.heartbeat)  # type: ignore[assignment]
        self._socket = self._sockets[0]
        self.pair = self._socket.connection
        self.epoch = 0
        """Newest committed."""
        self._primary_ended = False
        self._wire = Wire.of(link, len(machine.memory))
        self._staged: list[tuple[Page, ...]] = []
        self._state = b""
        self._lost = False
        self._stopping = False
        self._over = False
        """The receiver thread has ended."""
        self.heartbeat = Heartbeat(machine.process, link, self._wire, self._report_lost)
        self._socket.on_readable = self._wake
        self._wake()

    # What the worker calls.

    def stop(self) -> None:
        """No acknowledgement and no heartbeat after it; what had arrived whole is committed."""
        self.heartbeat.stop()
        self._stopping = True
        self._socket.reads = False
        self._receive()
        self._over = True

    def state(self) -> bytes:
        """State blob of the newest committed epoch."""
        return self._state

    def answer(self, frame_type: int) -> bool:
        """LEAVE_ACK or HANDOVER_DONE."""
        return self._socket.send(self._wire.build(FrameType(frame_type)))

    def close(self) -> None:
        """The primary sees its connections closed."""
        self.stop()
        self._sockets[0].shutdown()
        self._sockets[1].shutdown_sending()

    def outwait(self) -> Pending | None:
        """After close(): over when the primary can let nothing out any more."""
        return None if self._primary_ended else Pending(self.heartbeat.outwait)

    def free(self) -> None:
        """Closes for good."""
        self.stop()
        for socket in self._sockets:
            socket.close()

    # The receiver thread.

    def _wake(self) -> None:
        self.machine.process.soon(self._receive, Lane.RECEIVER)

    def _report_lost(self, reason: LostReason, detail: int) -> None:
        if not self._lost and not self._stopping:
            self.machine.post(EventKind.PEER_LOST, reason=reason, epoch=self.epoch, detail=detail)
        self._lost = True

    def _receive(self) -> None:
        inbox = self._socket.inbox
        while not self._over:
            found = take_header(inbox, self._wire.expect(_ALLOWED, last=self.epoch, parts=len(self._staged)))
            if found is None:
                self._over = self._stream_ended()
                return
            self.heartbeat.heard()
            header, refusal = found
            if refusal is not None:
                self._over = not self._refuse(refusal)
                return
            self._header_came(header)
            end = HEADER_BYTES + header.body_len
            if len(inbox) < end:
                self._over = self._stream_ended()
                return
            body = bytes(inbox[HEADER_BYTES:end])
            del inbox[:end]
            self._over = not self._take(header, body)

    def _header_came(self, header: Header) -> None:
        """A header was judged good; of its body nothing is known. Nothing may be done about it."""

    def _stream_ended(self) -> bool:
        if not self._stopping:
            self._primary_ended = self._socket.end in (End.CLOSED, End.RESET)
            if self._socket.end is End.CLOSED:
                self._report_lost(LostReason.CLOSED, 0)
            elif self._socket.end is End.RESET:
                self._report_lost(LostReason.RESET, 0)
            # Any other error leaves the verdict to the heartbeat.
        return self._stopping or self._socket.end is not None

    def _refuse(self, refusal: Refusal) -> bool:
        self._report_lost(LostReason.REFUSED, refusal)
        return False

    def _take(self, header: Header, body: bytes) -> bool:
        if header.type in (FrameType.LEAVE, FrameType.HANDOVER):
            self._farewell(FrameType(header.type))
            return False
        refusal = production_body.check_body(header, body, self._wire.limits)
        if refusal is not None:
            return self._refuse(refusal)
        pages = production_body._split_pages(header, body)
        if header.type == FrameType.SYNC:
            # Straight into the image: it is not a copy of anything yet.
            self._apply(pages)
        else:
            self._stage(header, pages, body[: header.state_len])
        return True

    def _stage(self, header: Header, pages: tuple[Page, ...], state: bytes) -> None:
        self._staged.append(pages)
        if header.type == FrameType.PART:
            return
        if not self._stopping:
            self._acknowledge(header)
        self._commit(header.epoch, state)

    def _acknowledge(self, header: Header) -> None:
        self.machine.outside.timeline.detail(self.machine.label, "acknowledges epoch {}", header.epoch)
        ack = self._wire.build(FrameType.ACK, header.epoch, stamp_us=header.stamp_ns // 1000)
        self._socket.send(ack)

    def _commit(self, epoch: int, state: bytes) -> None:
        for pages in self._staged:
            self._apply(pages)
        self._staged.clear()
        self._state = state
        self.epoch = epoch
        if epoch == 1:
            self.machine.post(EventKind.FIRST_COMPLETE, epoch=1)

    def _apply(self, pages: tuple[Page, ...]) -> None:
        memory = self.machine.memory
        for page in pages:
            memory[page.gfn] = page.contents if page.contents is not None else bytes(len(memory[page.gfn]))

    def _farewell(self, kind: FrameType) -> None:
        # Under a stop that was already decided the request comes too late.
        if self._stopping or self._lost:
            return
        self._lost = True
        self.machine.post(
            EventKind.LEAVE if kind is FrameType.LEAVE else EventKind.HANDOVER, epoch=self.epoch
        )
