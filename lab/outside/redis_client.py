"""Writes to the guest's database, remembers what was acknowledged, and looks for it afterwards."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

import trio

from lab.outside.connecting import Service
from lab.outside.resp import Decoder, ProtocolError, Reply, command
from lab.outside.write_book import WriteBook, key_of, value_of

RECEIVE_BYTES: Final = 65536
KEYS_AT_ONCE: Final = 200
READY_RETRY_S: Final = 0.1


class Connection:
    """One connection to a server. Replies come in the order of the commands."""

    def __init__(self, stream: trio.SocketStream) -> None:
        self._stream = stream
        self._decoder = Decoder()
        self._replies: list[Reply] = []

    async def ask(self, *words: bytes) -> Reply:
        """One command and its reply. Raises trio.BrokenResourceError, ProtocolError."""
        await self._stream.send_all(command(*words))
        while not self._replies:
            data = await self._stream.receive_some(RECEIVE_BYTES)
            if not data:
                raise trio.BrokenResourceError("the database closed the connection")
            self._replies += self._decoder.feed(bytes(data))
        return self._replies.pop(0)


@asynccontextmanager
async def connected(service: Service) -> AsyncIterator[Connection]:
    """A connection. Raises OSError when there is none."""
    stream = await service.open()
    try:
        yield Connection(stream)
    finally:
        await trio.aclose_forcefully(stream)


async def wait_ready(service: Service) -> None:
    """Returns when the server answers; without a time limit of its own."""
    while True:
        with trio.move_on_after(1):
            try:
                async with connected(service) as connection:
                    # While it reads its file it answers with an error.
                    if await connection.ask(b"PING") == b"PONG":
                        return
            except (OSError, trio.BrokenResourceError):
                pass
        await trio.sleep(READY_RETRY_S)


class RedisWriter:
    """Writes one numbered key after the other, each after the answer to the one before."""

    def __init__(self, service: Service, book: WriteBook) -> None:
        self.book = book
        self.reconnections = 0
        self._service = service
        self._stopping = False

    def stop(self) -> None:
        """`run` returns after the answer that is due."""
        self._stopping = True

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Writes until `stop`. A connection that breaks is replaced: a database's client does that."""
        while not self._stopping:
            try:
                async with connected(self._service) as connection:
                    task_status.started()
                    task_status = trio.TASK_STATUS_IGNORED
                    await self._write(connection)
            except (OSError, trio.BrokenResourceError):
                self.reconnections += 1
                await trio.sleep(READY_RETRY_S)

    async def _write(self, connection: Connection) -> None:
        while not self._stopping:
            number = self.book.ask()
            reply = await connection.ask(b"SET", key_of(number), value_of(number))
            if reply == b"OK":
                self.book.acknowledge(number)
            else:
                self.book.refused.append(str(reply))


async def verify(service: Service, book: WriteBook) -> None:
    """Looks for every write of the book. Raises OSError, trio.BrokenResourceError, ProtocolError."""
    book.begin_verification()
    async with connected(service) as connection:
        for first in range(1, book.asked + 1, KEYS_AT_ONCE):
            numbers = range(first, min(first + KEYS_AT_ONCE, book.asked + 1))
            values = await connection.ask(b"MGET", *map(key_of, numbers))
            if not isinstance(values, list) or len(values) != len(numbers):
                raise ProtocolError(f"the database does not say what it has: {values!r:.100}")
            for number, value in zip(numbers, values, strict=True):
                book.look(number, value if isinstance(value, bytes) else None)
