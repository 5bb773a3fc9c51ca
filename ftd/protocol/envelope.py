"""Control frames: u32 little-endian length, then one msgpack map. No I/O: bytes in, typed messages out.

    request    {"id": int, "method": str, "params": map}
    response   {"id": int, "result": map}  or  {"id": int, "error": {"kind": str, "message": str}}

What does not fit its type, has a field too many or is larger than the limit is refused with `FrameError`.
"""

import struct
from typing import Final, TypeVar

import msgspec

from ftd.errors import ControlError, ErrorKind
from ftd.limits import CONTROL_FRAME_BYTES_MAX

LENGTH: Final = struct.Struct("<I")
T = TypeVar("T")


class FrameError(Exception):
    """Bytes that are no frame of this protocol; the connection they came from is of no more use."""


class ErrorBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A `ControlError` on the wire."""

    kind: ErrorKind
    message: str


class Request(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`params` stay undecoded until the method is known."""

    id: int
    method: str
    params: msgspec.Raw


class Response(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """Exactly one of `result` and `error` is there."""

    id: int
    result: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    error: ErrorBody | msgspec.UnsetType = msgspec.UNSET

    def __post_init__(self) -> None:
        if (self.result is msgspec.UNSET) == (self.error is msgspec.UNSET):
            raise ValueError("a response has either a result or an error")


def frame_of(payload: bytes) -> bytes:
    """`payload` with its length in front. Raises FrameError when it is over the limit."""
    _check_length(len(payload))
    return LENGTH.pack(len(payload)) + payload


def payload_length(header: bytes) -> int:
    """Length announced by a frame's first four bytes. Raises FrameError when no frame has that length."""
    (length,) = LENGTH.unpack(header)
    return _check_length(length)


def request_frame(request_id: int, method: str, params: msgspec.Struct) -> bytes:
    """A whole request, ready to send."""
    return frame_of(msgspec.msgpack.encode(Request(request_id, method, msgspec.Raw(encode(params)))))


def result_frame(request_id: int, result: msgspec.Struct) -> bytes:
    """A whole answer, ready to send."""
    return frame_of(msgspec.msgpack.encode(Response(request_id, result=msgspec.Raw(encode(result)))))


def error_frame(request_id: int, error: ControlError) -> bytes:
    """A whole refusal, ready to send."""
    return frame_of(msgspec.msgpack.encode(Response(request_id, error=ErrorBody(error.kind, error.message))))


def encode(message: msgspec.Struct) -> bytes:
    """The msgpack map of a message."""
    return msgspec.msgpack.encode(message)


def decode(payload: bytes | msgspec.Raw, kind: type[T]) -> T:
    """The message of type `kind` in `payload`. Raises FrameError that says what does not fit, and where."""
    try:
        return msgspec.msgpack.decode(payload, type=kind)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise FrameError(f"not a valid {kind.__name__}: {error}") from error


def _check_length(length: int) -> int:
    if not 0 < length <= CONTROL_FRAME_BYTES_MAX:
        raise FrameError(f"a frame of {length} bytes is outside 1 to {CONTROL_FRAME_BYTES_MAX}")
    return length
