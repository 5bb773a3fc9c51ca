"""Connects the data pair and shakes hands, after ftd/worker/pair.py, with its messages and checks."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from ftd.protocol import body as production_body
from ftd.protocol.body import build_frame
from ftd.protocol.control import WorkerSpec
from ftd.protocol.frames import HEADER_BYTES, Expectation, FrameType, Header, Limits, pair_number
from ftd.protocol.handshake import Hello, decode_hello, decode_refuse, encode_hello, encode_refuse
from ftd.protocol.processor import Processor
from ftd.protocol.refusal import FrameRefused, Refusal
from ftd.protocol.stages import ALLOWED, Stage
from ftd.worker.pair import CHANNELS, HELLO_BYTES_MAX, Channel, Pair, PairError
from tests.sim import trio_stand_in as trio
from tests.sim.clockwork import SECOND
from tests.sim.frames import take_header
from tests.sim.machine import PROCESSOR
from tests.sim.network import Socket
from tests.sim.process import Lane, Process

__all__ = ["HANDSHAKE_DEADLINE_S", "PairError", "PairListener", "connect"]
HANDSHAKE_DEADLINE_S = 0.4
_POLL_S = 0.002


def _hello(spec: WorkerSpec, channel: Channel, token: bytes, processor: Processor) -> Hello:
    return Hello(
        channel=channel,
        token=token,
        memory_bytes=spec.memory_bytes,
        vcpus=spec.vcpus,
        epoch_pages_max=spec.epoch_pages_max,
        parts_max=spec.parts_max,
        heartbeat_interval_ms=spec.heartbeat_interval_ms,
        heartbeat_timeout_ms=spec.heartbeat_timeout_ms,
        disk_bytes=0,
        epoch_disk_bytes=0,
        processor=processor,
    )


def _expect(spec: WorkerSpec, generation: int, stage: Stage) -> Expectation:
    limits = Limits(
        memory_pages=spec.memory_bytes // 4096,
        epoch_pages_max=spec.epoch_pages_max,
        parts_max=spec.parts_max,
        state_bytes_max=HELLO_BYTES_MAX,
    )
    return Expectation(vm_id=spec.vm_id, generation=generation, allowed=ALLOWED[stage], limits=limits)


def _take_frame(socket: Socket, expected: Expectation) -> tuple[Header, bytes] | None:
    """None: not whole yet. Raises FrameRefused."""
    found = take_header(socket.inbox, expected)
    if found is None:
        return None
    header, refusal = found
    end = HEADER_BYTES + header.body_len
    if refusal is None and len(socket.inbox) < end:
        return None
    body = bytes(socket.inbox[HEADER_BYTES:end])
    refusal = refusal or production_body.check_body(header, body, expected.limits)
    if refusal is not None:
        raise FrameRefused(refusal, f"type {header.type}, generation {header.generation}")
    del socket.inbox[:end]
    return header, body


# ---- primary ----


async def connect(
    spec: WorkerSpec, generation: int, where: tuple[str, int], token: bytes, processor: Processor
) -> Pair:
    """Both connections to a standby that waits at a port. Raises PairError."""
    address, port = where
    made: list[Socket] = []
    try:
        for channel in CHANNELS:
            hello = _hello(spec, channel, token, processor)
            made.append(await _connect_one(spec, generation, port, hello))
    except (PairError, FrameRefused) as error:
        for socket in made:
            socket.close()
        raise PairError(f"no pair with {address}: {error}") from error
    return Pair(made[0], made[1], pair_number(token))  # type: ignore[arg-type]


async def _connect_one(spec: WorkerSpec, generation: int, port: int, hello: Hello) -> Socket:
    process = trio.current_process()
    network, clockwork = process.host.network, process.clockwork
    deadline_us = clockwork.now_us + int(HANDSHAKE_DEADLINE_S * SECOND)
    await trio.sleep(2 * _POLL_S)
    listener = network.listeners.get(port)
    if listener is None:
        raise PairError("connection refused")
    socket = listener(process, hello.channel)
    body = encode_hello(hello)
    socket.send(build_frame(FrameType.HELLO, vm_id=spec.vm_id, generation=generation, state=body))
    expected = _expect(spec, generation, Stage.PRIMARY_HELLO)
    while (frame := _take_frame(socket, expected)) is None:
        if socket.end is not None or clockwork.now_us > deadline_us:
            socket.close()
            raise PairError(f"no answer to HELLO on the {hello.channel} connection")
        await trio.sleep(_POLL_S)
    header, body = frame
    if header.type == FrameType.REFUSE:
        socket.close()
        raise PairError(f"refused ({decode_refuse(body).reason})")
    return socket


# ---- standby ----


class PairListener:
    """Waits for the primary of one standby."""

    def __init__(
        self, process: Process, spec: WorkerSpec, port: int, complete: Callable[[Pair], None]
    ) -> None:
        self._process = process
        self._spec = spec
        self._port = port
        self._complete = complete
        self._made: dict[str, Socket] = {}
        process.host.network.listeners[port] = self._accept

    def close(self) -> None:
        """No primary came, or the process has ended."""
        self._process.host.network.listeners.pop(self._port, None)

    def _accept(self, caller: Process, channel: str) -> Socket:
        near, far = self._process.host.network.connect(caller, self._process, channel)
        far.on_readable = lambda: self._process.soon(partial(self._greet, far), Lane.INTERPRETER)
        return near

    def _greet(self, socket: Socket) -> None:
        if socket in self._made.values():
            return  # what follows WELCOME is the data plane's
        try:
            hello = self._take_hello(socket)
        except FrameRefused as error:
            socket.send(self._frame(FrameType.REFUSE, encode_refuse(error.refusal, error.detail)))
            socket.close()
            return
        if hello is None:
            return
        socket.send(self._frame(FrameType.WELCOME))
        self._made[hello.channel] = socket
        if len(self._made) == len(CHANNELS):
            self.close()
            number = pair_number(self._spec.token or b"")
            made = self._made["data"], self._made["heartbeat"]
            self._complete(Pair(*made, number))  # type: ignore[arg-type]

    def _take_hello(self, socket: Socket) -> Hello | None:
        spec = self._spec
        frame = _take_frame(socket, _expect(spec, spec.generation, Stage.STANDBY_HELLO))
        if frame is None:
            return None
        assert spec.token is not None
        taken = frozenset(self._made)
        hello = decode_hello(frame[1], token=spec.token, channels_taken=taken, here=PROCESSOR)
        if hello != _hello(spec, hello.channel, spec.token, hello.processor):
            raise FrameRefused(Refusal.HELLO, "the pair's parameters are not those that were agreed")
        return hello

    def _frame(self, kind: FrameType, state: bytes = b"") -> bytes:
        return build_frame(kind, vm_id=self._spec.vm_id, generation=self._spec.generation, state=state)
