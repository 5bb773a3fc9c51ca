"""A control server answers what is right, refuses what is wrong, and outlives both."""

import re
import struct
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path

import msgspec
import pytest
import trio
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ftd import limits
from ftd.errors import ControlError, ErrorKind
from ftd.protocol import envelope
from ftd.protocol.control import Message, Method, Nothing, method_table
from ftd.transport.client import call_unix, connect_unix
from ftd.transport.framing import FrameStream, TransportError, TransportFailure
from ftd.transport.listen import unix_listener
from ftd.transport.server import ControlServer


class Text(Message, frozen=True, kw_only=True):
    text: str


ECHO = Method("echo", Text, Text)
SLOW = Method("slow", Nothing, Nothing)
FAIL = Method("fail", Text, Nothing)
BIG = Method("big", Nothing, Text)
METHODS = method_table(ECHO, SLOW, FAIL, BIG)


class Backend:
    """Handlers of the server under test."""

    def __init__(self) -> None:
        self.slow_may_end = trio.Event()
        self.slow_ended = 0

    async def echo(self, params: Text) -> Text:
        return params

    async def slow(self, params: Nothing) -> Nothing:
        await self.slow_may_end.wait()
        self.slow_ended += 1
        return params

    async def big(self, params: Nothing) -> Text:
        return Text(text="x" * limits.CONTROL_FRAME_BYTES_MAX)

    async def fail(self, params: Text) -> Nothing:
        if params.text == "refused":
            raise ControlError(ErrorKind.WRONG_STATE, "not now")
        if params.text == "refused in a nursery":
            async with trio.open_nursery():
                raise ControlError(ErrorKind.WRONG_STATE, "not now")
        raise ZeroDivisionError(params.text)


@pytest.fixture
def backend() -> Backend:
    return Backend()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "s.sock"


@pytest.fixture
async def server(path: Path, backend: Backend, nursery: trio.Nursery) -> AsyncIterator[ControlServer]:
    server = ControlServer(METHODS, idle_deadline_s=30)
    server.handle(ECHO, backend.echo)
    server.handle(SLOW, backend.slow)
    server.handle(FAIL, backend.fail)
    server.handle(BIG, backend.big)
    async with unix_listener(path, 0o660) as listener:
        await nursery.start(server.serve, [listener])
        yield server
        nursery.cancel_scope.cancel()


async def answer_to(path: Path, raw: bytes) -> bytes:
    """Everything that the server sends until it closes a connection on which `raw` was sent."""
    answer = b""
    with trio.fail_after(5):
        async with await trio.open_unix_socket(path) as stream:
            await stream.send_all(raw)
            await stream.send_eof()
            try:
                async for chunk in stream:
                    answer += chunk
            except trio.BrokenResourceError:
                pass
    return answer


async def test_answers(server: ControlServer, path: Path) -> None:
    assert await call_unix(path, ECHO, Text(text="a")) == Text(text="a")
    assert path.stat().st_mode & 0o777 == 0o660


async def test_answers_come_in_any_order(server: ControlServer, path: Path, backend: Backend) -> None:
    async with await trio.open_unix_socket(path) as raw:
        stream = FrameStream(raw)
        await stream.send(envelope.request_frame(1, "slow", Nothing()))
        await stream.send(envelope.request_frame(2, "echo", Text(text="b")))
        ids = []
        for _ in range(2):
            payload = await stream.receive(idle_deadline_s=5)
            assert payload is not None
            ids.append(envelope.decode(payload, envelope.Response).id)
            backend.slow_may_end.set()
    assert ids == [2, 1]


@pytest.mark.parametrize("where", ["refused", "refused in a nursery"])
async def test_refusal_reaches_the_caller(server: ControlServer, path: Path, where: str) -> None:
    with pytest.raises(ControlError, match="not now") as caught:
        await call_unix(path, FAIL, Text(text=where))
    assert caught.value.kind is ErrorKind.WRONG_STATE


async def test_a_bug_in_a_handler_costs_one_answer(server: ControlServer, path: Path) -> None:
    with pytest.raises(ControlError, match="ZeroDivisionError") as caught:
        await call_unix(path, FAIL, Text(text="secret"))
    assert caught.value.kind is ErrorKind.INTERNAL
    assert "secret" not in caught.value.message
    assert await call_unix(path, ECHO, Text(text="still here")) == Text(text="still here")


async def test_an_answer_too_large_is_an_error_not_a_hang(server: ControlServer, path: Path) -> None:
    with pytest.raises(ControlError, match="FrameError"):
        await call_unix(path, BIG, Nothing())


async def test_client_gone_does_not_stop_its_request(
    server: ControlServer, path: Path, backend: Backend
) -> None:
    with pytest.raises(TransportError, match="no answer to slow within"):
        await call_unix(path, SLOW, Nothing(), deadline_s=0.05)
    backend.slow_may_end.set()
    with trio.fail_after(5):
        while not backend.slow_ended:
            await call_unix(path, ECHO, Text(text="waiting"))


@pytest.mark.parametrize(
    ("method", "params", "said"),
    [
        ("nope", {}, "no method 'nope' here; there are: big, echo, fail, slow"),
        ("echo", {}, "missing required field `text`"),
        ("echo", {"text": 1}, r"Expected `str`, got `int` - at `\$.text`"),
        ("echo", {"text": "", "more": 1}, "unknown field `more`"),
        ("echo", [], "Expected `object`, got `array`"),
    ],
)
async def test_wrong_request_is_answered(
    server: ControlServer, path: Path, method: str, params: object, said: str
) -> None:
    request = msgspec.msgpack.encode({"id": 7, "method": method, "params": params})
    async with await trio.open_unix_socket(path) as raw:
        stream = FrameStream(raw)
        await stream.send(envelope.frame_of(request))
        payload = await stream.receive(idle_deadline_s=5)
    assert payload is not None
    response = envelope.decode(payload, envelope.Response)
    assert response.id == 7
    assert isinstance(response.error, envelope.ErrorBody)
    assert response.error.kind is ErrorKind.BAD_REQUEST
    assert re.search(said, response.error.message)


@pytest.mark.parametrize(
    "raw",
    [
        struct.pack("<I", limits.CONTROL_FRAME_BYTES_MAX + 1),
        struct.pack("<I", 0xFFFFFFFF) + b"x" * 100,
        struct.pack("<I", 0),
        b"GET / HTTP/1.1\r\n\r\n",
        b"\x05\x00",
        struct.pack("<I", 100) + b"short",
        envelope.frame_of(b"\xc1"),
        envelope.frame_of(b"\x91" * 100_000),
        envelope.frame_of(msgspec.msgpack.encode({"id": 1, "method": "echo"})),
        envelope.frame_of(msgspec.msgpack.encode({"id": "1", "method": "echo", "params": {}})),
        envelope.frame_of(msgspec.msgpack.encode({"id": 1, "method": b"\xff", "params": {}})),
    ],
)
async def test_garbage_closes_the_connection_only(server: ControlServer, path: Path, raw: bytes) -> None:
    assert await answer_to(path, raw) == b""
    assert await call_unix(path, ECHO, Text(text="still here")) == Text(text="still here")


@settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary(max_size=300))
def test_decoding_any_bytes_raises_nothing_but_frame_errors(payload: bytes) -> None:
    for kind in (envelope.Request, envelope.Response, Text):
        with suppress(envelope.FrameError):
            envelope.decode(payload, kind)


async def test_a_half_frame_is_waited_for_only_so_long(
    server: ControlServer, path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    async with await trio.open_unix_socket(path) as stream:
        await stream.send_all(b"\x10\x00")
        began_s = trio.current_time()
        assert await stream.receive_some() == b""
        assert trio.current_time() - began_s == pytest.approx(limits.CONTROL_FRAME_DEADLINE_S, abs=0.1)


async def test_an_idle_connection_is_closed(
    server: ControlServer, path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    async with await trio.open_unix_socket(path) as stream:
        assert await stream.receive_some() == b""
        assert trio.current_time() == pytest.approx(30, abs=0.1)


async def test_too_many_requests_are_refused(server: ControlServer, path: Path, backend: Backend) -> None:
    async with await trio.open_unix_socket(path) as raw:
        stream = FrameStream(raw)
        for request_id in range(limits.CONTROL_REQUESTS_IN_FLIGHT_MAX + 1):
            await stream.send(envelope.request_frame(request_id, "slow", Nothing()))
        payload = await stream.receive(idle_deadline_s=5)
        assert payload is not None
        response = envelope.decode(payload, envelope.Response)
        assert response.id == limits.CONTROL_REQUESTS_IN_FLIGHT_MAX
        assert isinstance(response.error, envelope.ErrorBody)
        assert "too many requests" in response.error.message
        backend.slow_may_end.set()


async def test_too_many_connections_are_refused(server: ControlServer, path: Path) -> None:
    async with trio.open_nursery() as held:

        async def hold(task_status: trio.TaskStatus[None]) -> None:
            async with connect_unix(path) as connection:
                await connection.call(ECHO, Text(text=""))
                task_status.started()
                await trio.sleep_forever()

        for _ in range(limits.CONTROL_CONNECTIONS_MAX):
            await held.start(hold)
        with pytest.raises(TransportError):
            await call_unix(path, ECHO, Text(text="one too many"))
        held.cancel_scope.cancel()
    with trio.fail_after(5):
        while True:
            try:
                await call_unix(path, ECHO, Text(text="room again"))
                break
            except TransportError:
                await trio.lowlevel.checkpoint()


async def test_a_table_without_all_handlers_is_not_served(path: Path) -> None:
    server = ControlServer(METHODS)
    with pytest.raises(ValueError, match="no handler for big, echo, fail, slow"):
        await server.serve([])


async def test_a_method_of_another_table_is_not_taken(backend: Backend) -> None:
    with pytest.raises(ValueError, match="echo is not in this server's table"):
        ControlServer(method_table(SLOW)).handle(ECHO, backend.echo)


async def test_listener_replaces_a_stale_socket_and_respects_a_live_one(path: Path) -> None:
    async with unix_listener(path):
        with pytest.raises(ControlError, match="another process listens"):
            async with unix_listener(path):
                pass
        assert path.exists(), "the live one's socket stays"
    assert not path.exists()
    path.touch()
    async with unix_listener(path):
        assert path.is_socket()


async def test_absent_and_denied_are_told_apart(tmp_path: Path) -> None:
    with pytest.raises(TransportError) as caught:
        await call_unix(tmp_path / "none.sock", ECHO, Text(text=""))
    assert caught.value.failure is TransportFailure.ABSENT
