"""Speaks to the chain service over one connection, which is meant to outlive a host."""

from typing import Final

import trio

from lab.outside.chain_account import ChainAccount
from lab.outside.connecting import Service

RECEIVE_BYTES: Final = 65536
ANSWER_DEADLINE_S: Final = 30.0
"""How long the client waits at its end for the answers that are still due."""


class ChainClient:
    """Asks `rate_hz` times a second, with at most `window` requests waiting. The verdict is in `account`."""

    def __init__(self, service: Service, *, rate_hz: float = 250.0, window: int = 64) -> None:
        self.account = ChainAccount()
        self._service = service
        self._interval_s = 1 / rate_hz
        self._window = window
        self._stopping = trio.Event()
        self._answered = trio.Event()

    def stop(self) -> None:
        """No more requests: `run` returns when the answers that are due have come."""
        self._stopping.set()
        self._tell()

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """One connection from its beginning to `stop` or to its end. Raises OSError if there is none."""
        stream = await self._service.open()
        task_status.started()
        why = ""
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._receive, stream)
                await self._send(stream)
                with trio.move_on_after(ANSWER_DEADLINE_S) as waiting:
                    while self.account.outstanding:
                        await self._progress()
                if waiting.cancelled_caught:
                    why = f"{self.account.outstanding} answers did not come within {ANSWER_DEADLINE_S:.0f} s"
                nursery.cancel_scope.cancel()
        except* (OSError, trio.BrokenResourceError) as group:
            why = str(group.exceptions[0].__cause__ or group.exceptions[0])
        finally:
            self.account.close(trio.current_time(), why)
            self._tell()
            await trio.aclose_forcefully(stream)

    async def more_answers(self, count: int, deadline_s: float) -> bool:
        """Waits for so many; False when they do not come, or the connection breaks."""
        wanted = self.account.answered + count
        with trio.move_on_after(deadline_s):
            while self.account.answered < wanted and not self.account.broken:
                await self._progress()
        return self.account.answered >= wanted

    async def _send(self, stream: trio.SocketStream) -> None:
        due_s = trio.current_time()
        while not self._stopping.is_set():
            if self.account.outstanding >= self._window:
                await self._progress()
                continue
            with trio.move_on_at(due_s):
                await self._stopping.wait()
                return
            # A client that waited does not catch up: that would be a burst, not the rate.
            due_s = max(due_s + self._interval_s, trio.current_time())
            payload = b"request %d" % (self.account.asked + 1)
            await stream.send_all(self.account.ask(payload, trio.current_time()))

    async def _receive(self, stream: trio.SocketStream) -> None:
        while data := await stream.receive_some(RECEIVE_BYTES):
            self.account.receive(bytes(data), trio.current_time())
            self._tell()
        raise trio.BrokenResourceError("the guest closed the connection")

    async def _progress(self) -> None:
        """Waits for an answer, or for `stop`. Several may wait."""
        await self._answered.wait()

    def _tell(self) -> None:
        """Wakes all who wait; who comes after this waits for the next time."""
        self._answered.set()
        self._answered = trio.Event()
