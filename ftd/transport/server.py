"""Answers the methods of one table on any number of connections."""

import math
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, TypeVar

import trio

from ftd import limits
from ftd.errors import ControlError, ErrorKind
from ftd.log import get_logger
from ftd.protocol import envelope
from ftd.protocol.control import Message, Method, Methods
from ftd.transport.framing import FrameStream, TransportError

P = TypeVar("P", bound=Message)
R = TypeVar("R", bound=Message)
log = get_logger(__name__)


class ControlServer:
    """Serves `methods`. A handler raises `ControlError` for a refusal; anything else it raises is our fault.

    A request that was taken is carried to its end even when its client goes away: an operator's Ctrl-C must
    not leave a VM half entered.
    """

    def __init__(self, methods: Methods, *, idle_deadline_s: float = math.inf) -> None:
        self._methods = methods
        self._handlers: dict[str, Callable[[Any], Awaitable[Message]]] = {}
        self._idle_deadline_s = idle_deadline_s
        self._connections = 0
        self._in_flight = 0

    def handle(self, method: Method[P, R], handler: Callable[[P], Awaitable[R]]) -> None:
        """Names the handler of one method of the table."""
        if self._methods.get(method.name) is not method:
            raise ValueError(f"{method.name} is not in this server's table")
        self._handlers[method.name] = handler

    async def serve(
        self,
        listeners: Sequence[trio.SocketListener],
        *,
        task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        """Runs until cancelled. Raises ValueError when a method of the table has no handler."""
        missing = self._methods.keys() - self._handlers.keys()
        if missing:
            raise ValueError(f"no handler for {', '.join(sorted(missing))}")
        async with trio.open_nursery() as nursery:

            async def connection(stream: trio.SocketStream) -> None:
                await self._serve_connection(FrameStream(stream), nursery)

            task_status.started()
            await trio.serve_listeners(connection, list(listeners), handler_nursery=nursery)

    async def _serve_connection(self, stream: FrameStream, nursery: trio.Nursery) -> None:
        if self._connections >= limits.CONTROL_CONNECTIONS_MAX:
            log.warning("control connection refused: too many are open", open=self._connections)
            return
        self._connections += 1
        try:
            await self._take_requests(stream, nursery)
        except (TransportError, envelope.FrameError) as error:
            log.warning("control connection dropped", reason=str(error))
        finally:
            self._connections -= 1

    async def _take_requests(self, stream: FrameStream, nursery: trio.Nursery) -> None:
        while (payload := await stream.receive(self._idle_deadline_s)) is not None:
            request = envelope.decode(payload, envelope.Request)
            if self._in_flight < limits.CONTROL_REQUESTS_IN_FLIGHT_MAX:
                self._in_flight += 1
                nursery.start_soon(self._answer, stream, request)
            else:
                busy = ControlError(ErrorKind.REFUSED, "too many requests are being worked on; try again")
                await stream.send(envelope.error_frame(request.id, busy))

    async def _answer(self, stream: FrameStream, request: envelope.Request) -> None:
        try:
            frame = await self._answer_frame(request)
        finally:
            self._in_flight -= 1
        try:
            await stream.send(frame)
        except TransportError as error:
            log.info("nobody waits for the answer any more", method=request.method, reason=str(error))

    async def _answer_frame(self, request: envelope.Request) -> bytes:
        try:
            return envelope.result_frame(request.id, await self._run_handler(request))
        except ControlError as error:
            return envelope.error_frame(request.id, error)
        except Exception as error:
            expected = _control_error_in(error)
            if expected is not None:
                return envelope.error_frame(request.id, expected)
            log.exception("a request failed", method=request.method)
            message = (
                f"{request.method} failed unexpectedly ({type(error).__name__}); the log has the details"
            )
            return envelope.error_frame(request.id, ControlError(ErrorKind.INTERNAL, message))

    async def _run_handler(self, request: envelope.Request) -> Message:
        method = self._methods.get(request.method)
        if method is None:
            known = ", ".join(sorted(self._methods))
            raise ControlError(
                ErrorKind.BAD_REQUEST, f"no method {request.method!r} here; there are: {known}"
            )
        try:
            params = envelope.decode(request.params, method.params)
        except envelope.FrameError as error:
            raise ControlError(ErrorKind.BAD_REQUEST, f"{request.method}: {error}") from error
        return await self._handlers[request.method](params)


def _control_error_in(error: Exception) -> ControlError | None:
    """The refusal in a group that a handler's nursery made, if the group holds refusals only."""
    if not isinstance(error, ExceptionGroup):
        return None
    refusals, others = error.split(ControlError)
    if others is not None or refusals is None:
        return None
    first = refusals.exceptions[0]
    return first if isinstance(first, ControlError) else _control_error_in(first)
