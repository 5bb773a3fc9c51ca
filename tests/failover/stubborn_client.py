"""A client that stays where it is: it sees what a copy says that the world has gone on without."""

import re
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Final

import trio

from ftd.drill.ledger import Connector, connector_of
from ftd.drill.ledger_book import Book

ANSWER: Final = re.compile(rb"(?m)^[AD] (\d+) ")
ASK_INTERVAL_S: Final = 0.005


class StubbornClient:
    """Stays on one connection, whatever happens, and goes on asking there."""

    def __init__(self, stream: trio.abc.Stream) -> None:
        self.book = Book()
        self.late = b""
        self.closed = trio.Event()
        self._stream = stream
        self._thawed = False

    def expect_nothing(self) -> None:
        """What comes from now on is kept in `late`, and not believed."""
        self._thawed = True

    async def ask(self) -> None:
        """Numbered requests, until the connection ends."""
        try:
            await self._stream.send_all(b"\n?\n")
            while True:
                await self._stream.send_all(self.book.ask(b"stubborn", trio.current_time()))
                await trio.sleep(ASK_INTERVAL_S)
        except trio.BrokenResourceError:
            return

    async def listen(self) -> None:
        """Answers into the book."""
        text = b""
        try:
            while chunk := await self._stream.receive_some():
                if self._thawed:
                    self.late += chunk
                    continue
                *lines, text = (text + chunk).split(b"\n")
                for line in lines:
                    self.book.read(line, trio.current_time())
        except trio.BrokenResourceError:
            pass
        self.closed.set()


@asynccontextmanager
async def stubborn_client(
    address: str, *, connector_for: Callable[[str], Connector] = connector_of
) -> AsyncIterator[StubbornClient]:
    """Asks and listens while in the block."""
    async with await connector_for(address)() as stream, trio.open_nursery() as nursery:
        client = StubbornClient(stream)
        nursery.start_soon(client.ask)
        nursery.start_soon(client.listen)
        yield client
        nursery.cancel_scope.cancel()


def later_answers(client: StubbornClient, last: int) -> list[int]:
    """Numbers above `last` that were answered after `expect_nothing`."""
    return [int(number) for number in ANSWER.findall(client.late) if int(number) > last]
