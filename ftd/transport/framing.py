"""Control frames on a trio stream, with deadlines: a silent or slow peer costs a connection, not a daemon."""

import enum
import math

import trio

from ftd.limits import CONTROL_FRAME_DEADLINE_S
from ftd.protocol.envelope import LENGTH, FrameError, payload_length


class TransportFailure(enum.Enum):
    """How a connection failed."""

    ABSENT = enum.auto()
    """Nobody listens there."""
    DENIED = enum.auto()
    """The file's permissions forbid it."""
    TIMEOUT = enum.auto()
    BROKEN = enum.auto()
    """Closed or reset, or the other side does not speak this protocol."""


class TransportError(Exception):
    """A connection could not be made, or is of no more use."""

    def __init__(self, failure: TransportFailure, message: str) -> None:
        super().__init__(message)
        self.failure = failure


class FrameStream:
    """Whole frames over `stream`. One task may receive while any number send."""

    def __init__(self, stream: trio.abc.Stream) -> None:
        self._stream = stream
        self._sending = trio.Lock()

    async def receive(self, idle_deadline_s: float = math.inf) -> bytes | None:
        """The next frame's payload; None when the other side closed between two frames.

        Raises TransportError when nothing comes for `idle_deadline_s` or a frame that began does not end in
        time, and FrameError when its length is impossible or it is cut short.
        """
        try:
            with trio.fail_after(idle_deadline_s):
                first = await self._stream.receive_some(1)
            if not first:
                return None
            with trio.fail_after(CONTROL_FRAME_DEADLINE_S):
                header = bytes(first) + await self._receive_exactly(LENGTH.size - 1)
                return await self._receive_exactly(payload_length(header))
        except trio.TooSlowError:
            raise TransportError(TransportFailure.TIMEOUT, "nothing came in time") from None
        except (trio.BrokenResourceError, trio.ClosedResourceError) as error:
            raise TransportError(TransportFailure.BROKEN, "the connection broke") from error

    async def send(self, frame: bytes) -> None:
        """Sends one whole frame. After a TransportError the stream is closed: it may hold half a frame."""
        try:
            with trio.fail_after(CONTROL_FRAME_DEADLINE_S):
                async with self._sending:
                    await self._stream.send_all(frame)
        except trio.TooSlowError:
            await trio.aclose_forcefully(self._stream)
            raise TransportError(TransportFailure.TIMEOUT, "the other side does not read") from None
        except (trio.BrokenResourceError, trio.ClosedResourceError) as error:
            raise TransportError(TransportFailure.BROKEN, "the connection broke") from error
        except trio.Cancelled:
            await trio.aclose_forcefully(self._stream)
            raise

    async def aclose(self) -> None:
        """Closes the connection."""
        await self._stream.aclose()

    async def _receive_exactly(self, length: int) -> bytes:
        received = bytearray()
        while len(received) < length:
            chunk = await self._stream.receive_some(length - len(received))
            if not chunk:
                raise FrameError(f"the connection ended after {len(received)} of {length} bytes")
            received += chunk
        return bytes(received)
