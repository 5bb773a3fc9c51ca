"""Connects the data pair and shakes hands: HELLO from the primary, WELCOME or REFUSE from the standby.

After the handshake both sockets go to the data plane; nothing of the pair is read or written in Python again.
"""

from __future__ import annotations

import contextlib
import math
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final, Literal

import trio

from ftd.dataplane.core import LinkConfig
from ftd.log import get_logger
from ftd.protocol.body import build_frame, check_body
from ftd.protocol.control import EndpointSpec, LinkEnds, WorkerSpec
from ftd.protocol.frames import (
    HEADER_BYTES,
    Expectation,
    FrameType,
    Header,
    Limits,
    check_header,
    pair_number,
)
from ftd.protocol.handshake import Hello, decode_hello, decode_refuse, encode_hello, encode_refuse
from ftd.protocol.processor import Processor
from ftd.protocol.refusal import FrameRefused, Refusal
from ftd.protocol.stages import ALLOWED, Stage

HANDSHAKE_DEADLINE_S: Final = 3.0
HELLO_BYTES_MAX: Final = 4096
CONNECTIONS_AT_ONCE_MAX: Final = 8
Channel = Literal["data", "heartbeat"]
CHANNELS: Final[tuple[Channel, Channel]] = ("data", "heartbeat")
log = get_logger(__name__)


class PairError(Exception):
    """The pair could not be made; the message says why."""


@dataclass(frozen=True)
class Pair:
    """Two connected sockets, handshake done."""

    data: socket.socket
    heartbeat: socket.socket
    number: int
    """`frames.pair_number` of its token."""

    def shut_down(self) -> None:
        """For a pair that a thread may be using still: its calls end, and with it go the sockets."""
        for sock in (self.data, self.heartbeat):
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """For a pair that the data plane did not take over."""
        self.data.close()
        self.heartbeat.close()


def link_config(spec: WorkerSpec, generation: int, pair: Pair) -> LinkConfig:
    """What the data plane is told of the pair."""
    return LinkConfig(
        vm_id=spec.vm_id,
        generation=generation,
        pair=pair.number,
        data=pair.data,
        heartbeat=pair.heartbeat,
        heartbeat_interval_ms=spec.heartbeat_interval_ms,
        heartbeat_timeout_ms=spec.heartbeat_timeout_ms,
        watchdog_ms=spec.watchdog_ms,
        epoch_pages_max=spec.epoch_pages_max,
        parts_max=spec.parts_max,
        epoch_disk_bytes=spec.epoch_disk_bytes,
    )


def link_ends(pair: Pair) -> tuple[LinkEnds, ...]:
    """Addresses of both connections. One that broke meanwhile has none."""
    found = []
    for sock in (pair.data, pair.heartbeat):
        with contextlib.suppress(OSError):
            here, there = (
                EndpointSpec(host=at[0], port=at[1]) for at in (sock.getsockname(), sock.getpeername())
            )
            found.append(LinkEnds(here=here, there=there))
    return tuple(found)


def _limits(spec: WorkerSpec) -> Limits:
    return Limits(
        memory_pages=spec.memory_bytes // 4096,
        epoch_pages_max=spec.epoch_pages_max,
        parts_max=spec.parts_max,
        state_bytes_max=HELLO_BYTES_MAX,
    )


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
        disk_bytes=spec.disk.size_bytes if spec.disk else 0,
        epoch_disk_bytes=spec.epoch_disk_bytes,
        processor=processor,
    )


async def _receive_exactly(sock: trio.socket.SocketType, length: int) -> bytes:
    received = b""
    while len(received) < length:
        chunk = await sock.recv(length - len(received))
        if not chunk:
            raise FrameRefused(Refusal.LENGTH, f"the stream ended after {len(received)} of {length} bytes")
        received += chunk
    return received


async def _receive_frame(
    sock: trio.socket.SocketType, spec: WorkerSpec, generation: int, stage: Stage
) -> tuple[Header, bytes]:
    expected = Expectation(
        vm_id=spec.vm_id, generation=generation, allowed=ALLOWED[stage], limits=_limits(spec)
    )
    header = Header.decode(await _receive_exactly(sock, HEADER_BYTES))
    refusal = check_header(header, expected)
    if refusal is None:
        body = await _receive_exactly(sock, header.body_len)
        refusal = check_body(header, body, expected.limits)
        if refusal is None:
            return header, body
    raise FrameRefused(refusal, f"type {header.type}, generation {header.generation}")


async def _send_all(sock: trio.socket.SocketType, data: bytes) -> None:
    while data:
        data = data[await sock.send(data) :]


def _detached(sock: trio.socket.SocketType) -> socket.socket:
    """The same connection as a plain blocking socket."""
    plain = socket.socket(fileno=sock.detach())
    plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    plain.setblocking(True)
    return plain


# ---- primary ----


async def connect(
    spec: WorkerSpec, generation: int, where: tuple[str, int], token: bytes, processor: Processor
) -> Pair:
    """Both connections to a standby that waits at an address and port, for a guest on this processor.

    Raises PairError.
    """
    made: list[socket.socket] = []
    try:
        for channel in CHANNELS:
            hello = _hello(spec, channel, token, processor)
            made.append(await _connect_one(spec, generation, where, hello))
    except PairError:
        for sock in made:
            sock.close()
        raise
    return Pair(made[0], made[1], pair_number(token))


async def _connect_one(
    spec: WorkerSpec, generation: int, where: tuple[str, int], hello: Hello
) -> socket.socket:
    here = f"the standby at {where[0]} port {where[1]}"
    try:
        with trio.fail_after(HANDSHAKE_DEADLINE_S):
            stream = await trio.open_tcp_stream(*where)
    except (OSError, trio.TooSlowError) as error:
        raise PairError(f"cannot connect to {here}: {error or 'no answer'}") from error
    sock = stream.socket
    try:
        with trio.fail_after(HANDSHAKE_DEADLINE_S):
            body = encode_hello(hello)
            await _send_all(
                sock, build_frame(FrameType.HELLO, vm_id=spec.vm_id, generation=generation, state=body)
            )
            header, body = await _receive_frame(sock, spec, generation, Stage.PRIMARY_HELLO)
        if header.type == FrameType.REFUSE:
            refuse = decode_refuse(body)
            raise PairError(f"{here} refused ({refuse.reason}): {refuse.detail}")
        return _detached(sock)
    except PairError:
        sock.close()
        raise
    except (OSError, trio.TooSlowError, FrameRefused) as error:
        sock.close()
        raise PairError(f"no handshake with {here}: {error or 'no answer'}") from error


# ---- standby ----


class PairListener:
    """Waits for the primary of one standby. Whoever else connects is refused and counted in ``refused``."""

    def __init__(self, spec: WorkerSpec, processor: Processor) -> None:
        assert spec.data_listen is not None
        assert spec.token is not None
        self._spec = spec
        self._processor = processor
        self._token = spec.token
        family = socket.AF_INET6 if ":" in spec.data_listen else socket.AF_INET
        self._listener = socket.create_server((spec.data_listen, 0), family=family, backlog=8)
        self.port: int = self._listener.getsockname()[1]
        self.refused: dict[Refusal, int] = {}
        self._made: dict[str, socket.socket] = {}
        self._complete = trio.Event()

    async def wait(self) -> Pair:
        """The pair. Raises PairError when no primary came in time."""
        listener = trio.socket.from_stdlib_socket(self._listener)
        with trio.move_on_after(self._spec.connect_timeout_s or math.inf):
            async with self._accepting(listener):
                await self._complete.wait()
        listener.close()
        if not self._complete.is_set():
            for sock in self._made.values():
                sock.close()
            raise PairError(f"no primary came within {self._spec.connect_timeout_s} s")
        return Pair(self._made["data"], self._made["heartbeat"], pair_number(self._token))

    @asynccontextmanager
    async def _accepting(self, listener: trio.socket.SocketType) -> AsyncIterator[None]:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._accept, listener, nursery)
            yield
            nursery.cancel_scope.cancel()

    async def _accept(self, listener: trio.socket.SocketType, nursery: trio.Nursery) -> None:
        limit = trio.CapacityLimiter(CONNECTIONS_AT_ONCE_MAX)
        while True:
            sock, address = await listener.accept()
            if limit.available_tokens == 0:
                sock.close()
                continue
            nursery.start_soon(self._greet, sock, address, limit)

    async def _greet(
        self, sock: trio.socket.SocketType, address: object, limit: trio.CapacityLimiter
    ) -> None:
        async with limit:
            try:
                with trio.fail_after(HANDSHAKE_DEADLINE_S):
                    hello = await self._hello(sock)
                    await _send_all(sock, self._frame(FrameType.WELCOME))
                self._made[hello.channel] = _detached(sock)
                if len(self._made) == len(CHANNELS):
                    self._complete.set()
            except FrameRefused as error:
                self.refused[error.refusal] = self.refused.get(error.refusal, 0) + 1
                log.warning("connection refused", peer=str(address), reason=str(error))
                with contextlib.suppress(OSError, trio.TooSlowError), trio.fail_after(1):
                    body = encode_refuse(error.refusal, error.detail)
                    await _send_all(sock, self._frame(FrameType.REFUSE, body))
            except (OSError, trio.TooSlowError) as error:
                log.warning("connection dropped", peer=str(address), reason=str(error) or "too slow")
            finally:
                sock.close()

    def _frame(self, kind: FrameType, state: bytes = b"") -> bytes:
        return build_frame(kind, vm_id=self._spec.vm_id, generation=self._spec.generation, state=state)

    async def _hello(self, sock: trio.socket.SocketType) -> Hello:
        spec = self._spec
        _, body = await _receive_frame(sock, spec, spec.generation, Stage.STANDBY_HELLO)
        taken = frozenset(self._made)
        hello = decode_hello(body, token=self._token, channels_taken=taken, here=self._processor)
        if hello != _hello(spec, hello.channel, self._token, hello.processor):
            raise FrameRefused(Refusal.HELLO, "the pair's parameters are not those that were agreed")
        return hello
