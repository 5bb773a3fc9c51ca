"""Joins a ledger guest that others have asked before: what the next answers must be follows from its own."""

from typing import Final

import trio

from ftd.drill.chain import LAG, Chain
from ftd.drill.ledger import Connector
from ftd.drill.ledger_book import Book

JOIN_DEADLINE_S: Final = 10.0
_LINE_BYTES_MAX: Final = 4096


class JoinError(Exception):
    """Nobody there keeps a ledger; the message says what was found."""


async def join(connector: Connector, *, deadline_s: float = JOIN_DEADLINE_S) -> Book:
    """A book from which each further answer can be judged. Raises JoinError.

    A ledger's hash takes in one from LAG requests before. So LAG requests are asked, one at a time, and their
    answers believed: they only serve to judge what comes after. A ledger that is empty needs none.
    """
    try:
        with trio.fail_after(deadline_s):
            async with await connector() as stream:
                return await _Joining(stream).run()
    except trio.TooSlowError:
        raise JoinError("no guest there answers as a ledger does") from None
    except (OSError, trio.BrokenResourceError) as error:
        raise JoinError(f"no connection: {error}") from error


class _Joining:
    def __init__(self, stream: trio.abc.Stream) -> None:
        self._stream = stream
        self._buffer = b""

    async def run(self) -> Book:
        await self._stream.send_all(b"\n?\n")
        first, value = await self._line(b"L")
        if first == 0:
            return Book()
        hashes = [value]
        for number in range(first + 1, first + 1 + LAG):
            await self._stream.send_all(b"R %d joining\n" % number)
            answered, value = await self._line(b"A")
            if answered != number:
                raise JoinError(f"request {number} was answered as {answered}: does another client ask?")
            hashes.append(value)
        chain = Chain(first, hashes)
        return Book(chain=chain, answered=chain.last)

    async def _line(self, kind: bytes) -> tuple[int, int]:
        """Number and hash of the next line of a kind; others are left over from another client."""
        while True:
            while b"\n" not in self._buffer:
                data = await self._stream.receive_some()
                if not data or len(self._buffer) > _LINE_BYTES_MAX:
                    raise JoinError("the connection was closed" if not data else "a line without end")
                self._buffer += data
            line, self._buffer = self._buffer.split(b"\n", 1)
            words = line.split()
            if len(words) == 3 and words[0] == kind and words[1].isdigit():
                try:
                    return int(words[1]), int(words[2], 16)
                except ValueError:
                    continue
