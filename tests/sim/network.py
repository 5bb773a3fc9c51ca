"""Connections between two hosts: in order and whole, as TCP keeps them, and all that TCP does not promise.

Loss is a stall: what is sent into a cut arrives when it heals. Different connections overtake each other.
What a kernel knows of a process that died, it tells the peer if it can: a close, or a reset when something
was left unread. Bytes that are changed, missing or repeated are the work of something between the hosts.
"""

from __future__ import annotations

import enum
import itertools
from collections import deque
from collections.abc import Callable

from ftd.protocol.frames import HEADER_BYTES, MAGIC, Header
from tests.sim.clockwork import Clockwork
from tests.sim.process import Host, Process

CHANNELS = ("data", "heartbeat")
Way = tuple[str, str, str]
"""Sending host, receiving host, channel."""


class WholeEpoch(bytes):
    """An EPOCH frame in one piece: so its arrival can be told."""

    epoch = 0


class End(enum.Enum):
    """How a socket's incoming side ended."""

    CLOSED = "end of stream"
    RESET = "ECONNRESET"
    PATH = "ETIMEDOUT"


class Network:
    """What lies between the hosts."""

    def __init__(self, clockwork: Clockwork) -> None:
        self.clockwork = clockwork
        self.cut: dict[Way, int] = {}
        """How many faults cut a way; what is not in it is open."""
        self.delay_us: dict[Way, int] = {}
        """On top of the usual delay."""
        self.flows: list[Flow] = []
        self.arrived: Callable[[int, int], None] = lambda connection, epoch: None
        """Told when a kernel holds a whole EPOCH, and nothing before it was tampered with."""
        self.listeners: dict[int, Callable[[Process, str], Socket]] = {}
        """By port: makes a connection from a process, for a channel, and returns the caller's end."""
        self.connections = 0
        self._epochs: dict[tuple[int, int], dict[int, bytes]] = {}

    def connect(self, source: Process, target: Process, channel: str) -> tuple[Socket, Socket]:
        """Both ends of a new connection; the delay of TCP's own handshake is the caller's."""
        near, far = Socket(self, source), Socket(self, target)
        self.connections += 1
        near.connection = far.connection = self.connections
        near.peer, far.peer = far, near
        near.outgoing, far.outgoing = Flow(self, near, far, channel), Flow(self, far, near, channel)
        self.flows = [flow for flow in self.flows if not flow.finished]
        self.flows += [near.outgoing, far.outgoing]
        return near, far

    def remember(self, frame: bytes) -> None:
        """Keep an EPOCH that is sent whole, for somebody who replays it later."""
        header = Header.decode(frame[:HEADER_BYTES])
        self._epochs.setdefault((header.generation, header.pair), {})[header.epoch] = frame

    def has_earlier_frames(self) -> bool:
        """Whether more than one pair has replicated."""
        return len(self._epochs) > 1

    def earlier_frame(self, data: bytes) -> bytes | None:
        """The EPOCH of an earlier pair that has the number after that of ``data``, if that is one."""
        if len(data) < HEADER_BYTES or data[: len(MAGIC)] != MAGIC:
            return None
        header = Header.decode(data[:HEADER_BYTES])
        this = header.generation, header.pair
        earlier = list(itertools.takewhile(lambda key: key != this, self._epochs))
        return self._epochs[earlier[-1]].get(header.epoch + 1) if earlier else None

    def set_cut(self, way: Way, change: int) -> None:
        """Cut a way once more (1), or heal one cut of it (-1)."""
        self.cut[way] = self.cut.get(way, 0) + change
        if not self.cut[way]:
            self.release()

    def release(self) -> None:
        """What is not held up any more goes on."""
        for flow in self.flows:
            flow.release()


class Flow:
    """One direction of a connection."""

    def __init__(self, network: Network, source: Socket, target: Socket, channel: str) -> None:
        self.network = network
        self.way: Way = (source.process.host.name, target.process.host.name, channel)
        self.target = target
        self.mangle: Callable[[bytes], list[bytes]] | None = None
        """What a fault makes of the next bytes; used once."""
        self.finished = False
        self._flight: deque[bytes | End] = deque()
        self._stuck = 0
        self._last_arrival_us = 0

    def push(self, item: bytes | End) -> None:
        """Send bytes, or the end of the stream."""
        if isinstance(item, bytes) and self.mangle is not None:
            mangle, self.mangle = self.mangle, None
            self.target.reads = False
            for part in mangle(item):
                self._launch(part)
            return
        self._launch(item)

    def _launch(self, item: bytes | End) -> None:
        clockwork = self.network.clockwork
        delay_us = clockwork.random.randrange(80, 600) + self.network.delay_us.get(self.way, 0)
        self._last_arrival_us = max(self._last_arrival_us, clockwork.now_us + delay_us)
        self._flight.append(item)
        clockwork.after(self._last_arrival_us - clockwork.now_us, self._arrive)

    def _held_up(self) -> bool:
        return bool(self.network.cut.get(self.way)) or self.target.process.host.frozen

    def _arrive(self) -> None:
        if self._held_up():
            self._stuck += 1
        elif self._flight:
            self.target.take(self._flight.popleft())

    def release(self) -> None:
        """Retransmit what was held up, if it is not any more."""
        if self._stuck and not self._held_up():
            stuck, self._stuck = self._stuck, 0
            delay_us = self.network.clockwork.random.randrange(100, 5000)
            for _ in range(stuck):
                self.network.clockwork.after(delay_us, self._arrive)

    def lose_tail(self) -> None:
        """A reset overtakes what would have had to be sent again."""
        keep = self.network.clockwork.random.randrange(len(self._flight) + 1)
        while len(self._flight) > keep:
            self._flight.pop()


class Socket:
    """One end of a connection, with what its kernel has received."""

    def __init__(self, network: Network, process: Process) -> None:
        self.process = process
        self.inbox = bytearray()
        self.end: End | None = None
        self.on_readable: Callable[[], None] = lambda: None
        self.peer: Socket = self
        self.outgoing: Flow
        self.connection = 0
        self.reads = True
        """What arrives now counts as received: reading was not ended, and nothing was tampered with."""
        self._open = True
        self._sent_end = False
        self.lost_power = False
        process.sockets.append(self)

    @property
    def host(self) -> Host:
        """Where this end is."""
        return self.process.host

    def getsockname(self) -> tuple[str, int]:
        """Address and port; of no meaning in this world but to be shown."""
        return self.host.name, 1 + self.connection

    def getpeername(self) -> tuple[str, int]:
        """The same of the other end."""
        return self.peer.getsockname()

    def send(self, data: bytes) -> bool:
        """False: the connection is gone."""
        if self._sent_end or not self._open or self.end in (End.RESET, End.PATH):
            return False
        self.outgoing.push(data)
        return True

    def take(self, item: bytes | End) -> None:
        """Something arrives at the kernel."""
        if not self.host.up:
            return
        if not self._open:
            if isinstance(item, bytes):
                self._reset()
            return
        if isinstance(item, End):
            self.end = self.end or item
        elif self.end is None:
            self.inbox += item
            if isinstance(item, WholeEpoch) and self.reads:
                self.process.host.network.arrived(self.connection, item.epoch)
        elif self.end is End.PATH:
            self._reset()  # the connection is no more; whoever still uses it is told
        self.on_readable()

    def fail(self, end: End) -> None:
        """The path gives up on this end, as after an ICMP message or TCP's own timeout."""
        if self._open and self.end is None:
            self.end = end
            self.on_readable()

    def shutdown(self) -> None:
        """shutdown(SHUT_RDWR): the peer sees the end of the stream, and so do we."""
        self.shutdown_sending()
        self.end = self.end or End.CLOSED

    def shutdown_sending(self) -> None:
        """shutdown(SHUT_WR): the peer sees the end of the stream, we go on receiving."""
        if not self._sent_end:
            self._sent_end = True
            self.outgoing.push(End.CLOSED)

    def close(self) -> None:
        """Close, or the kernel's close at the end of a process."""
        if not self._open:
            return
        self._open = False
        if self.inbox and not self._sent_end:
            self._reset()
        elif not self._sent_end:
            self._sent_end = True
            self.outgoing.push(End.CLOSED)
        self.on_readable = lambda: None
        self.outgoing.finished = not self.peer._open

    def abandon(self) -> None:
        """The host lost power: nobody is told."""
        self._open = False
        self._sent_end = True
        self.lost_power = True
        self.on_readable = lambda: None

    def answer_after_power_loss(self) -> None:
        """The host is back: its kernel resets what the peer still sends on this connection."""
        if self.lost_power:
            self.lost_power = False
            self.outgoing.push(End.RESET)

    def _reset(self) -> None:
        if not self.outgoing.finished:
            self._sent_end = True
            self.outgoing.lose_tail()
            self.outgoing.push(End.RESET)
            self.outgoing.finished = True
