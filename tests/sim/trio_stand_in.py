"""As much of trio as the worker's production modules use, on simulated time.

``production`` loads those modules a second time with this module in trio's place. A task belongs to a
process: it runs on its interpreter's lane, and stands still when that does.
"""

from __future__ import annotations

import contextlib
from collections import deque
from collections.abc import AsyncIterator, Callable, Coroutine, Generator, Iterator
from functools import partial
from types import SimpleNamespace
from typing import Any

from tests.sim.clockwork import MS, SECOND
from tests.sim.disk import HostCrashed
from tests.sim.process import Lane, Process

Arm = Callable[["Task"], None]
TASK_STATUS_IGNORED = SimpleNamespace(started=lambda value=None: None)
_THREAD_US_MAX = 2 * MS
_current: Task | None = None


class TooSlowError(Exception):
    """A deadline passed."""


class Task:
    """A coroutine that runs in a process."""

    def __init__(self, process: Process, coroutine: Coroutine[Any, Any, object]) -> None:
        self.process = process
        self.coroutine = coroutine
        self.deadline_us: int | None = None
        process.coroutines[coroutine] = None
        process.soon(partial(self._step, coroutine.send, None), Lane.INTERPRETER)

    def wake(self, value: object = None) -> None:
        """What it awaits has come."""
        self.process.soon(partial(self._step, self.coroutine.send, value), Lane.INTERPRETER)

    def wake_with(self, error: BaseException) -> None:
        """What it awaits has failed."""
        self.process.soon(partial(self._step, self.coroutine.throw, error), Lane.INTERPRETER)

    def _step(self, resume: Callable[[Any], Any], value: object) -> None:
        global _current
        if self.coroutine not in self.process.coroutines:
            return  # cancelled
        before, _current = _current, self
        try:
            arm: Arm = resume(value)
        except StopIteration:
            self.process.coroutines.pop(self.coroutine, None)
        except Exception as error:
            self.process.coroutines.pop(self.coroutine, None)
            self.process.fail(error)
        else:
            arm(self)
        finally:
            _current = before

    def cancel(self) -> None:
        """It does nothing any more."""
        self.process.coroutines.pop(self.coroutine, None)
        self.coroutine.close()


class _Wait:
    """Suspends the task that awaits it until ``arm`` has had it woken."""

    def __init__(self, arm: Arm) -> None:
        self._arm = arm

    def __await__(self) -> Generator[Arm, Any, Any]:
        return (yield self._arm)


def _running() -> Task:
    assert _current is not None, "only tasks await"
    return _current


class Event:
    """trio.Event."""

    def __init__(self) -> None:
        self._set = False
        self._waiting: list[Task] = []

    def set(self) -> None:
        """Wakes all."""
        self._set = True
        for task in self._waiting:
            task.wake()
        self._waiting.clear()

    def is_set(self) -> bool:
        """Whether it has happened."""
        return self._set

    async def wait(self) -> None:
        """Until it has happened."""
        if not self._set:
            await _Wait(self._waiting.append)


class _Channel:
    """Both ends of a memory channel; one task receives."""

    def __init__(self) -> None:
        self._items: deque[object] = deque()
        self._receiver: Task | None = None

    async def send(self, item: object) -> None:
        self._items.append(item)
        if self._receiver is not None:
            receiver, self._receiver = self._receiver, None
            receiver.wake()

    def __aiter__(self) -> AsyncIterator[object]:
        return self

    async def __anext__(self) -> object:
        if not self._items:
            await _Wait(partial(setattr, self, "_receiver"))
        return self._items.popleft()


class _OpenMemoryChannel:
    def __getitem__(self, _kind: object) -> _OpenMemoryChannel:
        return self

    def __call__(self, _size: float) -> tuple[_Channel, _Channel]:
        channel = _Channel()
        return channel, channel


open_memory_channel = _OpenMemoryChannel()


class Nursery:
    """trio.Nursery of a body that cancels its children itself."""

    def __init__(self) -> None:
        self._children: list[Task] = []
        self.cancel_scope = SimpleNamespace(cancel=self._cancel)

    def start_soon(self, function: Callable[..., Coroutine[Any, Any, object]], *args: object) -> None:
        self._children = [child for child in self._children if child.coroutine in child.process.coroutines]
        self._children.append(Task(_running().process, function(*args)))

    def _cancel(self) -> None:
        for child in self._children:
            child.cancel()
        self._children.clear()


@contextlib.asynccontextmanager
async def open_nursery() -> AsyncIterator[Nursery]:
    """Children that still run when the body ends are cancelled."""
    nursery = Nursery()
    try:
        yield nursery
    finally:
        nursery.cancel_scope.cancel()


class CancelScope:
    """trio.CancelScope of what a guest of this world never does: it has no network to be announced on."""

    def cancel(self) -> None:
        """Nothing is in it."""


class Lock:
    """trio.Lock."""

    def __init__(self) -> None:
        self._held = False
        self._waiting: deque[Task] = deque()

    async def __aenter__(self) -> None:
        if self._held:
            await _Wait(self._waiting.append)
        self._held = True

    async def __aexit__(self, *_error: object) -> None:
        if self._waiting:
            self._waiting.popleft().wake()
        else:
            self._held = False


async def sleep(seconds: float) -> None:
    """trio.sleep."""
    delay_us = int(seconds * SECOND)
    await _Wait(lambda task: task.process.later(delay_us, task.wake, Lane.INTERPRETER))


@contextlib.contextmanager
def fail_after(seconds: float) -> Iterator[None]:
    """trio.fail_after around one call into a thread."""
    task = _running()
    task.deadline_us = int(seconds * SECOND)
    try:
        yield
    finally:
        task.deadline_us = None


class Pending:
    """What a function in a helper thread returns that blocks there: ``begin`` calls back when it is over."""

    def __init__(self, begin: Callable[[Callable[[], None]], None]) -> None:
        self.begin = begin


class _Call:
    """A function in a helper thread. With a deadline it asks the arbiter, which takes its own time."""

    def __init__(self, function: Callable[[], object], task: Task) -> None:
        self._function = function
        self._task = task
        self._over = False
        process = task.process
        if task.deadline_us is None:
            process.later(process.clockwork.random.randrange(_THREAD_US_MAX), self._run, Lane.THREAD)
        else:
            process.later(task.deadline_us, self._expire, Lane.INTERPRETER)
            process.disk.when_reached(process, self._ask)

    def _ask(self) -> None:
        disk, host = self._task.process.disk, self._task.process.host
        disk.acting = host
        self._run(disk.answer_delay_us(host))

    def _run(self, answer_us: int = 0) -> None:
        try:
            outcome = self._function()
        except HostCrashed as crash:
            crash.host_lost_power()
            return
        except Exception as error:
            self._task.process.later(
                answer_us, partial(self._finish, self._task.wake_with, error), Lane.THREAD
            )
            return
        if isinstance(outcome, Pending):
            outcome.begin(partial(self._finish, self._task.wake, None))
            return
        self._task.process.later(answer_us, partial(self._finish, self._task.wake, outcome), Lane.THREAD)

    def _finish(self, wake: Callable[[Any], None], outcome: object) -> None:
        if not self._over:
            self._over = True
            wake(outcome)

    def _expire(self) -> None:
        """The thread is left behind: whatever it still does, nobody hears of it."""
        self._finish(self._task.wake_with, TooSlowError())


async def _run_sync(function: Callable[..., object], *args: object, abandon_on_cancel: bool = False) -> Any:
    def call(task: Task) -> None:
        _Call(partial(function, *args), task)

    return await _Wait(call)


async def _wait_readable(source: Any) -> None:
    if not source:
        await _Wait(source.watch)


def _spawn_system_task(function: Callable[..., Coroutine[Any, Any, object]], *args: object) -> None:
    Task(_running().process, function(*args))


to_thread = SimpleNamespace(run_sync=_run_sync)
lowlevel = SimpleNamespace(wait_readable=_wait_readable, spawn_system_task=_spawn_system_task)


def current_process() -> Process:
    """The process whose task runs now."""
    return _running().process


def start(coroutine: Coroutine[Any, Any, object], process: Process) -> None:
    """Starts a task in ``process`` from outside."""
    Task(process, coroutine)
