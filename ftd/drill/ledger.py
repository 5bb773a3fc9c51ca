"""A client of the ledger guest that follows it from host to host and judges every answer."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from functools import partial

import trio

from ftd.drill.chain import Chain
from ftd.drill.ledger_book import Answer, Book, Breach, BreachKind, GapError, is_introduction

__all__ = ["Answer", "Book", "Breach", "BreachKind", "Chain", "Connected", "Disconnected", "LedgerClient"]

LINE_BYTES_MAX = 4096
RETRY_INTERVAL_S = 0.005
Payload = Callable[[int], bytes]
Connector = Callable[[], Awaitable[trio.abc.Stream]]


@dataclass(frozen=True)
class Connected:
    """The ledger answers at this address."""

    address: str


@dataclass(frozen=True)
class Disconnected:
    """The connection was given up."""

    address: str
    reason: str


Event = Connected | Disconnected | Answer | Breach


class _SessionOverError(Exception):
    """The connection is of no more use; the message says why."""


def connector_of(address: str) -> Connector:
    """What opens a stream to ``unix:/path`` or ``tcp:host:port``. Raises ValueError for anything else."""
    kind, _, rest = address.partition(":")
    host, _, port = rest.rpartition(":")
    if kind == "unix" and rest:
        return partial(trio.open_unix_socket, rest)
    if kind == "tcp" and host and port.isdecimal():
        return partial(trio.open_tcp_stream, host, int(port))
    raise ValueError(f"not an address: {address!r} (unix:/path or tcp:host:port)")


class LedgerClient:
    """Asks numbered requests, up to `window` at once, of whichever address answers for the ledger.

    Addresses are ``unix:/path`` or ``tcp:host:port``. Whenever there is no connection, or a request has had
    no answer for `silence_timeout_s`, all addresses are tried at once, and the first at which the guest
    introduces itself is taken. The account is in `book`; `observe` gets every event as it happens,
    synchronously.
    """

    def __init__(
        self,
        addresses: Sequence[str],
        *,
        window: int = 8,
        requests_per_second: float | None = None,
        silence_timeout_s: float = 0.1,
        introduction_timeout_s: float = 0.25,
        payload: Payload = lambda number: b"request %d" % number,
        observe: Callable[[Event], None] = lambda event: None,
        connector_for: Callable[[str], Connector] = connector_of,
    ) -> None:
        if not addresses or window < 1:
            raise ValueError("a ledger client needs an address and a window of at least 1")
        self._connectors = {address: connector_for(address) for address in addresses}
        self._window = window
        self._interval_s = 1 / requests_per_second if requests_per_second else 0.0
        self._silence_timeout_s = silence_timeout_s
        self._introduction_timeout_s = introduction_timeout_s
        self._payload = payload
        self._observe = observe
        self._finishing = False
        self._wake_sender = trio.Event()
        self.book = Book()

    async def run(self) -> None:
        """Asks until `finish()` was called and all is answered, or until the first breach.

        Does not give up by itself while nobody answers.
        """
        while not self._finished():
            address, stream, lines = await self._find()
            self._observe(Connected(address))
            async with stream:
                try:
                    await self._converse(stream, lines)
                except* (_SessionOverError, GapError, trio.BrokenResourceError) as group:
                    self._observe(Disconnected(address, str(_first(group))))
            if not self._finished() and not self.book.outstanding:
                self._ask()  # so that this silence is measured: a client outside would have asked by now
            await trio.sleep(RETRY_INTERVAL_S)

    def finish(self) -> None:
        """Asks nothing new; `run()` ends when the last answer is there."""
        self._finishing = True
        self._wake_sender.set()

    def _finished(self) -> bool:
        return bool(self.book.breaches) or (self._finishing and not self.book.outstanding)

    async def _find(self) -> tuple[str, trio.abc.Stream, "_Lines"]:
        """The first address at which a guest introduces itself, however often they must be tried."""
        found: list[tuple[str, trio.abc.Stream, _Lines]] = []

        async def try_address(address: str) -> None:
            while not found:
                with trio.move_on_after(self._introduction_timeout_s):
                    stream = await self._introduced(address)
                    if stream is not None:
                        found.append((address, *stream))
                        nursery.cancel_scope.cancel()
                        return
                await trio.sleep(RETRY_INTERVAL_S)

        try:
            async with trio.open_nursery() as nursery:
                for address in self._connectors:
                    nursery.start_soon(try_address, address)
        except BaseException:
            for _, stream, _ in found:
                await trio.aclose_forcefully(stream)
            raise
        for _, loser, _ in found[1:]:
            await trio.aclose_forcefully(loser)
        return found[0]

    async def _introduced(self, address: str) -> "tuple[trio.abc.Stream, _Lines] | None":
        """Connects and reads up to the guest's introduction; None when that fails."""
        try:
            stream = await self._connectors[address]()
        except OSError:
            return None
        lines = _Lines(stream)
        try:
            await stream.send_all(b"\n?\n")
            line = b""
            while not is_introduction(line):
                line = await lines.next()
                self._take(line, leftover=True)
        except (_SessionOverError, trio.BrokenResourceError):
            await trio.aclose_forcefully(stream)
            return None
        except BaseException:
            await trio.aclose_forcefully(stream)
            raise
        return stream, lines

    def _take(self, line: bytes, *, leftover: bool = False) -> None:
        event = self.book.read(line, trio.current_time(), leftover=leftover)
        if event is not None:
            self._observe(event)

    async def _converse(self, stream: trio.abc.Stream, lines: "_Lines") -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._send, stream)
            await self._receive(lines)
            nursery.cancel_scope.cancel()

    async def _send(self, stream: trio.abc.Stream) -> None:
        await stream.send_all(b"".join(self.book.ask_again()))
        due_s = trio.current_time()
        while not self._finishing:
            if self.book.outstanding >= self._window:
                self._wake_sender = trio.Event()
                await self._wake_sender.wait()
                continue
            await trio.sleep_until(due_s)
            if self._finishing:
                return
            due_s = max(due_s, trio.current_time() - self._interval_s) + self._interval_s
            await stream.send_all(self._ask())

    def _ask(self) -> bytes:
        return self.book.ask(self._payload(self.book.asked + 1), trio.current_time())

    async def _receive(self, lines: "_Lines") -> None:
        while not self._finished():
            with trio.move_on_after(self._silence_timeout_s):
                self._take(await lines.next())
                self._wake_sender.set()
            if self.book.silence_s(trio.current_time()) >= self._silence_timeout_s:
                raise _SessionOverError("silent")


class _Lines:
    """Splits what a stream brings into lines. A call that is cancelled loses nothing."""

    def __init__(self, stream: trio.abc.ReceiveStream) -> None:
        self._stream = stream
        self._buffer = b""

    async def next(self) -> bytes:
        while b"\n" not in self._buffer:
            if len(self._buffer) > LINE_BYTES_MAX:
                raise _SessionOverError("a line without end")
            data = await self._stream.receive_some()
            if not data:
                raise _SessionOverError("closed")
            self._buffer += data
        line, self._buffer = self._buffer.split(b"\n", 1)
        return line


def _first(group: BaseExceptionGroup[BaseException]) -> BaseException:
    error: BaseException = group
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error
