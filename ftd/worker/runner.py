"""The worker's one loop: events in, decisions by the core, actions out, one event after the other."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

import trio

from ftd.dataplane.errors import DataplaneError
from ftd.dataplane.events import Event as News
from ftd.dataplane.events import EventKind
from ftd.errors import ControlError, ErrorKind
from ftd.log import get_logger
from ftd.protocol.control import LOSS_SEEN
from ftd.replication import actions as act
from ftd.replication import events as ev
from ftd.replication.actions import ErrorKind as CoreErrorKind
from ftd.worker.copy import ActionFailed, VmCopy
from ftd.worker.news import REBOOT_WANTED, event_of, lost_sentence

_ENDS_PAIR: Final = (
    act.ResumeSimplex,
    act.ReleaseOutput,
    act.StopForever,
    act.CloseConnections,
    act.DropImage,
)
_KINDS: Final[dict[CoreErrorKind, ErrorKind]] = {
    CoreErrorKind.WRONG_STATE: ErrorKind.WRONG_STATE,
    CoreErrorKind.WRONG_ROLE: ErrorKind.WRONG_ROLE,
    CoreErrorKind.PEER_LOST: ErrorKind.PEER_UNREACHABLE,
    CoreErrorKind.ARBITER_UNREACHABLE: ErrorKind.ARBITER,
}
log = get_logger(__name__)


@dataclass
class _Answer:
    """What becomes of an operator's request."""

    done: trio.Event = field(default_factory=trio.Event)
    error: ControlError | None = None


class Runner:
    """Serialises everything that happens to a copy."""

    def __init__(self, copy: VmCopy) -> None:
        self.copy = copy
        self._send, self._receive = trio.open_memory_channel[ev.Event | None](1024)
        self._answers: dict[int, _Answer] = {}
        self._last_request = 0
        self._news: deque[News] = deque()
        self._news_taken = trio.Event()
        self._guest_stopped = False
        self._nursery: trio.Nursery | None = None

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Until the copy has ended. An exception means that nothing more may be decided here."""
        async with trio.open_nursery() as nursery:
            self._nursery = nursery
            nursery.start_soon(self._watch_data_plane)
            task_status.started()
            async for event in self._receive:
                if event is None:
                    await self._take_news()
                else:
                    await self._step(event)
                if self.copy.ended.is_set():
                    nursery.cancel_scope.cancel()
                    return

    async def request(self, make: Callable[[int], ev.Request]) -> None:
        """Puts an operator's request to the core and waits for its answer. Raises ControlError."""
        self._last_request += 1
        number, answer = self._last_request, _Answer()
        self._answers[number] = answer
        await self._send.send(make(number))
        await answer.done.wait()
        if answer.error is not None:
            raise answer.error

    async def _watch_data_plane(self) -> None:
        while True:
            await trio.lowlevel.wait_readable(self.copy.machine.event_fd)
            # Readable until the loop has emptied the queue: there is no use in looking again before.
            self._news_taken = trio.Event()
            await self._send.send(None)
            await self._news_taken.wait()

    async def _take_news(self) -> None:
        self._news.extend(self.copy.machine.take_events())
        self._news_taken.set()
        while self._news:
            await self._deliver(self._news.popleft())

    async def _deliver(self, news: News) -> None:
        if news.kind is EventKind.PEER_LOST:
            await self._settle_loss(news)
        elif news.kind is EventKind.GUEST_STOPPED:
            if not self._guest_stopped:
                self._guest_stopped = True
                if news.detail == REBOOT_WANTED:
                    self.copy.note_reboot()
                await self._tell(news)
        else:
            await self._tell(news)

    async def _settle_loss(self, news: News) -> None:
        """Before the core hears of a loss, this side stands still, and what came before the loss was told."""
        self.copy.history.passed(LOSS_SEEN, self.copy.core.state)
        self.copy.reason = f"peer lost: {lost_sentence(news)}"
        log.warning("peer lost", reason=lost_sentence(news), epoch=news.epoch)
        if self.copy.standby is not None:
            await self.copy.stop_standby()
        elif news.epoch > 0:
            await trio.to_thread.run_sync(self.copy.machine.pause)
        earlier = [*self._news, *self.copy.machine.take_events()]
        self._news.clear()
        for item in earlier:
            if item.kind is not EventKind.PEER_LOST:
                await self._deliver(item)
        await self._tell(news)

    async def _tell(self, news: News) -> None:
        event = event_of(news)
        if event is not None:
            await self._step(event)

    async def _step(self, event: ev.Event) -> None:
        before = self.copy.core.state
        actions = self.copy.core.handle(event)
        after = self.copy.core.state
        if after is not before:
            self.copy.history.changed(type(event).__name__, before, after)
            log.info("state", on=type(event).__name__, before=before.value, after=after.value)
        for action in actions:
            await self._perform(action)

    async def _perform(self, action: act.Action) -> None:
        assert self._nursery is not None
        match action:
            case act.FinishRequest(request, error):
                self._finish(request, error)
            case act.AskArbiter():
                self._nursery.start_soon(self._ask, action)
            case act.ProbeArbiter():
                self._nursery.start_soon(self._probe)
            case _:
                await self._carry_out(action)

    async def _carry_out(self, action: act.Action) -> None:
        try:
            await self.copy.perform(action)
        except DataplaneError as error:
            # What concerns the pair only ends the pair: the guest matters more.
            if not isinstance(action, act.StartSync | act.SendLeave | act.DrainGuest | act.SendHandover):
                raise ActionFailed(f"{type(action).__name__}: {error}") from error
            log.error("failed", action=type(action).__name__, reason=error.message)
            self.copy.reason = error.message
            if isinstance(action, act.StartSync):
                await self._send.send(ev.PeerLost(error.message))
        if isinstance(action, _ENDS_PAIR):
            self._forget_pair()

    def _forget_pair(self) -> None:
        """News of a pair that has ended concerns nobody; that the guest stopped does."""
        if self.copy.ended.is_set():
            return
        late = [*self._news, *self.copy.machine.take_events()]
        self._news = deque(item for item in late if item.kind is EventKind.GUEST_STOPPED)

    async def _ask(self, action: act.AskArbiter) -> None:
        await trio.sleep(action.after_ms / 1000)
        answer = await self.copy.claims.claim(action.expected_generation, action.claim_id)
        self._note_arbiter(answer.reason if isinstance(answer, ev.ArbiterUnreachable) else "")
        await self._send.send(answer)

    def _note_arbiter(self, silence: str) -> None:
        """Logged when it changes, not with each try: an arbiter may be away for days."""
        if silence and silence != self.copy.arbiter_silence:
            log.warning("the arbiter does not answer", reason=silence)
        self.copy.arbiter_silence = silence

    async def _probe(self) -> None:
        await self._send.send(await self.copy.claims.probe())

    def _finish(self, request: int, error: act.RequestError | None) -> None:
        answer = self._answers.pop(request)
        if error is not None:
            answer.error = ControlError(_KINDS.get(error.kind, ErrorKind.REFUSED), error.message)
        answer.done.set()
