"""The clients against services on loopback that do as they should, and against ones with planted faults."""

from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import aclosing, asynccontextmanager

import pytest
import trio

from ftd.drill.chain import Chain
from lab.errors import LabError
from lab.outside import shell
from lab.outside.chain_client import ChainClient
from lab.outside.connecting import Service
from lab.outside.redis_client import RedisWriter, verify, wait_ready
from lab.outside.resp import ProtocolError
from lab.outside.write_book import WriteBook

Handler = Callable[[trio.SocketStream], Awaitable[None]]


@asynccontextmanager
async def serving(handler: Handler) -> AsyncIterator[Service]:
    """A service that handles each connection so."""

    async def handle(stream: trio.SocketStream) -> None:
        async with stream:
            await handler(stream)

    [listener] = await trio.open_tcp_listeners(0, host="127.0.0.1")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(trio.serve_listeners, handle, [listener])
        yield Service("127.0.0.1", listener.socket.getsockname()[1])
        nursery.cancel_scope.cancel()


async def lines_of(stream: trio.SocketStream) -> AsyncGenerator[bytes, None]:
    buffer = b""
    async for data in stream:
        *lines, buffer = (buffer + bytes(data)).split(b"\n")
        for line in lines:
            yield line


def chain_service(change: Callable[[int, bytes], bytes | None]) -> Handler:
    """Answers as the guest does; `change` says what becomes of an answer, None: the connection ends."""

    async def handle(stream: trio.SocketStream) -> None:
        chain = Chain()
        async with aclosing(lines_of(stream)) as lines:
            async for line in lines:
                answer = change(chain.last + 1, b"%d %016x\n" % (chain.last + 1, chain.append(line)))
                if answer is None:
                    return
                await stream.send_all(answer)

    return handle


async def ask(handler: Handler, count: int = 20) -> ChainClient:
    async with serving(handler) as service:
        client = ChainClient(service, rate_hz=1000)
        with trio.fail_after(30):
            async with trio.open_nursery() as nursery:
                await nursery.start(client.run)
                await client.more_answers(count, 5)
                client.stop()
    return client


async def test_a_sound_connection_is_intact() -> None:
    client = await ask(chain_service(lambda _, answer: answer))
    assert client.account.intact
    assert client.account.answered >= 20


async def test_all_who_wait_for_answers_are_woken() -> None:
    async with serving(chain_service(lambda _, answer: answer)) as service:
        client = ChainClient(service, rate_hz=1000, window=1)  # it waits for each answer itself
        async with trio.open_nursery() as nursery:
            await nursery.start(client.run)
            with trio.fail_after(10):
                async with trio.open_nursery() as waiting:
                    for _ in range(3):
                        waiting.start_soon(client.more_answers, 20, 60)
            client.stop()


@pytest.mark.parametrize(
    ("change", "what"),
    [
        (lambda number, answer: b"" if number == 7 else answer, "lost_bytes"),
        (lambda number, answer: answer * 2 if number == 7 else answer, "repeated_bytes"),
        (lambda number, answer: answer[:-2] + b"\n" if number == 7 else answer, "wrong_bytes"),
        (lambda number, answer: None if number == 7 else answer, "broken"),
    ],
)
async def test_a_planted_fault_is_found(change: Callable[[int, bytes], bytes | None], what: str) -> None:
    client = await ask(chain_service(change))
    assert not client.account.intact
    assert client.account.report()[what]


async def test_there_is_no_client_without_a_service() -> None:
    async with serving(chain_service(lambda _, answer: answer)) as service:
        pass
    with pytest.raises(OSError, match="connect"):
        await ChainClient(service).run()


async def commands_of(stream: trio.SocketStream) -> AsyncGenerator[list[bytes], None]:
    words: list[bytes] = []
    left = 0
    async with aclosing(lines_of(stream)) as lines:
        async for line in lines:
            if left == 0:
                words, left = [], int(line[1:])
            elif not line.startswith(b"$"):
                words.append(line.rstrip(b"\r"))
                left -= 1
                if left == 0:
                    yield words


def redis_service(*, loses: int = 0, refuses: int = 0, breaks_at: int = 0) -> Handler:
    """A database of SET, MGET and PING that forgets, refuses or breaks the connection at its nth write."""
    kept: dict[bytes, bytes] = {}
    writes = 0

    async def handle(stream: trio.SocketStream) -> None:
        nonlocal writes
        async with aclosing(commands_of(stream)) as commands:
            async for words in commands:
                if words[0] == b"SET":
                    writes += 1
                    if writes == breaks_at:
                        return
                    if writes not in (loses, refuses):
                        kept[words[1]] = words[2]
                refused = words[0] == b"SET" and writes == refuses
                await stream.send_all(_reply(kept, words, refused=refused))

    return handle


def _reply(kept: dict[bytes, bytes], words: list[bytes], *, refused: bool) -> bytes:
    if refused:
        return b"-MISCONF no disk\r\n"
    if words[0] == b"MGET":
        values = [kept.get(key) for key in words[1:]]
        strings = [
            b"$-1\r\n" if value is None else b"$%d\r\n%s\r\n" % (len(value), value) for value in values
        ]
        return b"*%d\r\n" % len(values) + b"".join(strings)
    return b"+PONG\r\n" if words[0] == b"PING" else b"+OK\r\n"


async def write(handler: Handler, count: int = 300) -> tuple[WriteBook, RedisWriter]:
    async with serving(handler) as service:
        await wait_ready(service)
        writer = RedisWriter(service, WriteBook())
        with trio.fail_after(30):
            async with trio.open_nursery() as nursery:
                await nursery.start(writer.run)
                while len(writer.book.acknowledged) < count:
                    await trio.sleep(0.001)
                writer.stop()
        await verify(service, writer.book)
    return writer.book, writer


async def test_a_sound_database_is_intact() -> None:
    book, writer = await write(redis_service())
    assert book.intact, book.report()
    assert writer.reconnections == 0


async def test_a_write_that_was_acknowledged_and_forgotten_is_found() -> None:
    book, _ = await write(redis_service(loses=250))
    assert (book.intact, book.missing) == (False, [250])


async def test_a_refused_write_is_told_and_may_be_missing() -> None:
    book, _ = await write(redis_service(refuses=5))
    assert book.intact
    assert "MISCONF" in str(book.report()["refused"])


async def test_a_broken_connection_is_replaced() -> None:
    book, writer = await write(redis_service(breaks_at=5))
    assert book.intact
    assert writer.reconnections == 1


async def test_a_database_that_says_nonsense_is_not_verified() -> None:
    async def handle(stream: trio.SocketStream) -> None:
        async for _ in stream:
            await stream.send_all(b"+OK\r\n")

    book = WriteBook()
    book.acknowledge(book.ask())
    async with serving(handle) as service:
        with pytest.raises(ProtocolError, match="does not say"):
            await verify(service, book)
    assert not book.intact


async def test_a_command_has_its_output_and_status() -> None:
    async def handle(stream: trio.SocketStream) -> None:
        text = bytes(await stream.receive_some())
        token = text.split(b"echo ")[-1].split(b" $?")[0].replace(b"''", b"")
        await stream.send_all(b"some\nlines\n")
        await stream.send_all(token + b" 3\n")

    async with serving(handle) as service:
        assert await shell.run(service, "false") == shell.Said(3, "some\nlines\n")


async def test_a_guest_that_hangs_up_is_an_error() -> None:
    async def handle(stream: trio.SocketStream) -> None:
        await stream.receive_some()
        await stream.send_all(b"half a wo")

    async with serving(handle) as service:
        with pytest.raises(LabError, match=r"closed the connection during `true`: .*half a wo"):
            await shell.run(service, "true")
