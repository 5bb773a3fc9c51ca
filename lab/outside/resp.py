"""Redis' protocol, RESP2, as far as this client speaks it. No I/O."""

from dataclasses import dataclass
from typing import Final

LINE_BYTES_MAX: Final = 64 * 1024
BULK_BYTES_MAX: Final = 16 * 1024 * 1024
ITEMS_MAX: Final = 100_000


class ProtocolError(Exception):
    """Bytes that are no reply; the connection is of no more use."""


@dataclass(frozen=True)
class ErrorReply:
    """The server's refusal, such as `MISCONF ...`."""

    text: str


Reply = bytes | int | ErrorReply | None | list["Reply"]


def command(*words: bytes) -> bytes:
    """A command as the server takes it."""
    parts = [b"*%d\r\n" % len(words)]
    parts += [b"$%d\r\n%s\r\n" % (len(word), word) for word in words]
    return b"".join(parts)


class _IncompleteError(Exception):
    """More bytes are needed."""


class Decoder:
    """Makes replies of bytes, in pieces of any size."""

    def __init__(self) -> None:
        self._buffer = b""

    def feed(self, data: bytes) -> list[Reply]:
        """The replies that are complete now. Raises ProtocolError."""
        self._buffer += data
        replies: list[Reply] = []
        at = 0
        while at < len(self._buffer):
            try:
                reply, at = self._reply(at)
            except _IncompleteError:
                break
            replies.append(reply)
        self._buffer = self._buffer[at:]
        return replies

    def _reply(self, at: int) -> tuple[Reply, int]:
        line, after = self._line(at)
        kind, rest = line[:1], line[1:]
        if kind == b"+":
            return rest, after
        if kind == b"-":
            return ErrorReply(rest.decode(errors="replace")), after
        if kind == b":":
            return _integer(rest), after
        if kind == b"$":
            return self._bulk(_integer(rest), after)
        if kind == b"*":
            return self._array(_integer(rest), after)
        raise ProtocolError(f"a reply begins with {line[:20]!r}")

    def _line(self, at: int) -> tuple[bytes, int]:
        end = self._buffer.find(b"\r\n", at, at + LINE_BYTES_MAX)
        if end >= 0:
            return self._buffer[at:end], end + 2
        if len(self._buffer) - at >= LINE_BYTES_MAX:
            raise ProtocolError("a line without end")
        raise _IncompleteError

    def _bulk(self, length: int, at: int) -> tuple[Reply, int]:
        if length == -1:
            return None, at
        if not 0 <= length <= BULK_BYTES_MAX:
            raise ProtocolError(f"a string of {length} bytes")
        end = at + length
        if len(self._buffer) < end + 2:
            raise _IncompleteError
        if self._buffer[end : end + 2] != b"\r\n":
            raise ProtocolError(f"a string of {length} bytes goes on after them")
        return self._buffer[at:end], end + 2

    def _array(self, count: int, at: int) -> tuple[Reply, int]:
        if count == -1:
            return None, at
        if not 0 <= count <= ITEMS_MAX:
            raise ProtocolError(f"a list of {count} replies")
        items: list[Reply] = []
        for _ in range(count):
            # Lists in lists are not asked for here, and could be nested without end.
            if self._buffer[at : at + 1] == b"*":
                raise ProtocolError("a list in a list")
            item, at = self._reply(at)
            items.append(item)
        return items, at


def _integer(text: bytes) -> int:
    try:
        return int(text)
    except ValueError as error:
        raise ProtocolError(f"{text[:20]!r} is no number") from error
