"""Bodies of HELLO and REFUSE: one msgpack map each. WELCOME has no body."""

from __future__ import annotations

from typing import Annotated, Final, Literal

import msgspec
from msgspec import Meta

from ftd.protocol.frames import PAGE_BYTES, Limits
from ftd.protocol.processor import Processor, why_unfit
from ftd.protocol.refusal import FrameRefused, Refusal

TOKEN_BYTES: Final = 16
MEMORY_BYTES_MAX: Final = 1 << 46
VCPUS_MAX: Final = 255
EPOCH_PAGES_MAX: Final = 1 << 20
PARTS_MAX: Final = 1 << 16
HEARTBEAT_MS_MAX: Final = 60_000
DISK_BYTES_MAX: Final = 1 << 60
EPOCH_DISK_BYTES_MAX: Final = 64 << 20
DETAIL_CHARS_MAX: Final = 1024

Channel = Literal["data", "heartbeat"]


class Hello(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What the primary proposes when it connects; both connections of a pair send the same but for
    ``channel``.

    ``epoch_pages_max`` is the arena's size in pages, ``parts_max`` the most frames that one epoch may consist
    of, ``epoch_disk_bytes`` the most disk writes that it may carry. Without a disk the last two are 0.
    """

    channel: Channel
    token: Annotated[bytes, Meta(min_length=TOKEN_BYTES, max_length=TOKEN_BYTES)]
    memory_bytes: Annotated[int, Meta(gt=0, le=MEMORY_BYTES_MAX, multiple_of=PAGE_BYTES)]
    vcpus: Annotated[int, Meta(ge=1, le=VCPUS_MAX)]
    epoch_pages_max: Annotated[int, Meta(ge=1, le=EPOCH_PAGES_MAX)]
    parts_max: Annotated[int, Meta(ge=1, le=PARTS_MAX)]
    heartbeat_interval_ms: Annotated[int, Meta(ge=1, le=HEARTBEAT_MS_MAX)]
    heartbeat_timeout_ms: Annotated[int, Meta(ge=1, le=HEARTBEAT_MS_MAX)]
    disk_bytes: Annotated[int, Meta(ge=0, le=DISK_BYTES_MAX)]
    epoch_disk_bytes: Annotated[int, Meta(ge=0, le=EPOCH_DISK_BYTES_MAX)]
    processor: Processor
    """The primary's."""

    def __post_init__(self) -> None:
        if self.heartbeat_timeout_ms <= self.heartbeat_interval_ms:
            raise ValueError("heartbeat_timeout_ms must be greater than heartbeat_interval_ms")

    def limits(self) -> Limits:
        """The limits that frames of this pair are checked against."""
        return Limits(
            memory_pages=self.memory_bytes // PAGE_BYTES,
            epoch_pages_max=self.epoch_pages_max,
            parts_max=self.parts_max,
            disk_bytes=self.disk_bytes,
            extra_bytes_max=self.epoch_disk_bytes,
        )


class Refuse(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Why the sender closes the connection: the reason's label and a sentence for the operator."""

    reason: Annotated[str, Meta(max_length=64)]
    detail: Annotated[str, Meta(max_length=DETAIL_CHARS_MAX)] = ""


def encode_hello(hello: Hello) -> bytes:
    """HELLO's body."""
    return msgspec.msgpack.encode(hello)


def decode_hello(body: bytes, *, token: bytes, channels_taken: frozenset[str], here: Processor) -> Hello:
    """HELLO's body, checked against the pair that it wants to join and the processor of this host.

    Raises FrameRefused (HELLO, TOKEN, DUPLICATE, PROCESSOR).
    """
    try:
        hello = msgspec.msgpack.decode(body, type=Hello)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise FrameRefused(Refusal.HELLO, str(error)) from error
    if hello.token != token:
        raise FrameRefused(Refusal.TOKEN, "the token is not the one agreed over the control connection")
    if hello.channel in channels_taken:
        raise FrameRefused(Refusal.DUPLICATE, f"the {hello.channel} connection of this pair already exists")
    if why := why_unfit(hello.processor, here):
        raise FrameRefused(Refusal.PROCESSOR, why)
    return hello


def encode_refuse(refusal: Refusal, detail: str) -> bytes:
    """REFUSE's body; an overlong detail is cut."""
    return msgspec.msgpack.encode(Refuse(refusal.label, detail[:DETAIL_CHARS_MAX]))


def decode_refuse(body: bytes) -> Refuse:
    """REFUSE's body. Raises FrameRefused (HELLO) if it is not one."""
    try:
        return msgspec.msgpack.decode(body, type=Refuse)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise FrameRefused(Refusal.HELLO, f"malformed REFUSE: {error}") from error
