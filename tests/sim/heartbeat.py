"""The heartbeat thread, after ftd/dataplane/heartbeat.c."""

from __future__ import annotations

from collections.abc import Callable

from ftd.dataplane.core import LinkConfig
from ftd.dataplane.events import LostReason
from ftd.protocol.frames import HEADER_BYTES, FrameType, Header, HeartbeatFlag
from tests.sim.clockwork import MS, SECOND
from tests.sim.frames import Wire, take_header
from tests.sim.network import End, Socket
from tests.sim.output import Output
from tests.sim.process import Lane, Process

FIRST_BEAT_US = 5 * SECOND
Lost = Callable[[LostReason, int], None]
_ALLOWED = frozenset({FrameType.HEARTBEAT})


class Heartbeat:
    """One side's thread. ``output`` is the active side's gate; a standby has none."""

    lane = Lane.HEARTBEAT

    def __init__(
        self, process: Process, link: LinkConfig, wire: Wire, lost: Lost, output: Output | None = None
    ) -> None:
        self._process = process
        self._socket: Socket = link.heartbeat  # type: ignore[assignment]
        self._wire = wire
        self._expected = wire.expect(_ALLOWED)
        self._interval_us = link.heartbeat_interval_ms * MS
        self._timeout_us = link.heartbeat_timeout_ms * MS
        self._lost = lost
        self._output = output
        self._broken = False
        self._in_doubt = False
        self._echoed_us = -link.heartbeat_timeout_ms * MS
        self._stop = False
        self._ran_us = self._next_us = self.clock_us()
        self._heard_us = self._ran_us + FIRST_BEAT_US
        self._timer = 0
        self._socket.on_readable = self._wake
        process.soon(self._turn, self.lane)

    def clock_us(self) -> int:
        """CLOCK_BOOTTIME."""
        return self._process.host.boottime_us()

    def heard(self) -> None:
        """A sign of life, on either connection."""
        self._heard_us = self.clock_us()

    def stop(self) -> None:
        """No heartbeat and no echo after it."""
        self._stop = True

    def outwait(self, over: Callable[[], None]) -> None:
        """After `stop`, our end closed: calls ``over`` once the peer can let nothing out any more."""
        left_us = self._echoed_us + self._timeout_us - self.clock_us()
        if self._socket.end in (End.CLOSED, End.RESET) or left_us <= 0:
            over()
        else:
            self._process.later(min(left_us, MS), lambda: self.outwait(over), Lane.THREAD)

    def _wake(self) -> None:
        if not self._stop:
            self._process.soon(self._turn, self.lane)

    def _on_timer(self, timer: int) -> None:
        if timer == self._timer:
            self._turn()

    def _turn(self) -> None:
        if not self._stop and not self._broken:
            self._receive()
        if not self._stop:
            self._look_around()

    def _look_around(self) -> None:
        now_us = self.clock_us()
        if now_us - self._ran_us > self._timeout_us // 2 and self._heard_us < now_us:
            self._heard_us = now_us
        self._ran_us = now_us
        if self._fell_into_doubt():
            self._next_us = now_us
        if now_us >= self._next_us:
            self._put(0, now_us)
            self._next_us = now_us + self._interval_us
        if now_us - self._heard_us > self._timeout_us:
            self._report(LostReason.SILENT, (now_us - self._heard_us) * 1000)
            return
        self._timer += 1
        timer, due_us = self._timer, min(self._next_us, self._heard_us + self._timeout_us + 1)
        self._process.later(max(due_us - now_us, 1), lambda: self._on_timer(timer), self.lane)

    def _fell_into_doubt(self) -> bool:
        before = self._in_doubt
        self._in_doubt = self._output is not None and self._output.in_doubt()
        return self._in_doubt and not before

    def _put(self, flags: int, stamp_us: int) -> None:
        if self._broken:
            return
        if self._output is None:
            flags |= HeartbeatFlag.STANDBY
        frame = self._wire.build(FrameType.HEARTBEAT, flags=flags, stamp_us=stamp_us)
        self._broken = not self._socket.send(frame)

    def _receive(self) -> None:
        inbox = self._socket.inbox
        while not self._stop and (found := take_header(inbox, self._expected)):
            header, refusal = found
            del inbox[:HEADER_BYTES]
            if refusal is not None:
                self._report(LostReason.REFUSED, refusal)
                return
            self._take(header)
        if self._socket.end is not None and not self._stop:
            self._take_end(self._socket.end)

    def _take(self, header: Header) -> None:
        self.heard()
        if not header.flags & HeartbeatFlag.ECHO:
            self._echoed_us = self.clock_us()
            self._put(HeartbeatFlag.ECHO, header.stamp_ns // 1000)
        elif self._output is not None and header.flags & HeartbeatFlag.STANDBY:
            self._output.proof(header.stamp_ns // 1000)

    def _take_end(self, end: End) -> None:
        if end is End.CLOSED:
            self._report(LostReason.CLOSED, 0)
            return
        self._broken = True
        # Errors of the path: a standby waits out the timeout, its primary may live.
        if end is End.RESET or self._output is not None:
            self._report(LostReason.RESET, 0)

    def _report(self, reason: LostReason, detail: int) -> None:
        self._stop = True
        self._lost(reason, detail)
