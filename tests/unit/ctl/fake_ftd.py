"""A control socket with canned answers, and ftctl run against it as an operator would."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import trio
from click.testing import CliRunner, Result

from ftd.ctl.main import main
from ftd.errors import ControlError
from ftd.protocol.control import Message, WorkerStatus
from ftd.protocol.control_operator import OPERATOR_METHODS, HostInfo, StatusReport
from ftd.transport.listen import unix_listener
from ftd.transport.server import ControlServer

Answer = Message | ControlError | Callable[[], Message]


class FakeFtd:
    """`answers` by method name; every request is kept in `asked`."""

    def __init__(self, socket: Path) -> None:
        self.socket = socket
        self.answers: dict[str, Answer] = {}
        self.asked: list[tuple[str, Message]] = []

    async def ftctl(self, *arguments: str) -> Result:
        """Runs ftctl in a thread of its own, as it has a loop of its own."""
        command = ["--socket", str(self.socket), *arguments]
        return await trio.to_thread.run_sync(CliRunner().invoke, main, command)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        server = ControlServer(OPERATOR_METHODS)
        for method in OPERATOR_METHODS.values():
            server.handle(method, self._handler(method.name))
        async with unix_listener(self.socket) as listener, trio.open_nursery() as nursery:
            await nursery.start(server.serve, [listener])
            yield
            nursery.cancel_scope.cancel()

    def _handler(self, name: str) -> Any:
        async def handler(params: Message) -> Message:
            self.asked.append((name, params))
            answer = self.answers[name]
            if isinstance(answer, ControlError):
                raise answer
            return answer if isinstance(answer, Message) else answer()

        return handler


def worker_status(**changes: Any) -> WorkerStatus:
    """A protected VM, but for what is changed."""
    fields: dict[str, Any] = {
        **{"vm": "web", "vm_id": "0", "host": "alpha", "pid": 7, "role": "active", "state": "protected"},
        **{"generation": 3, "epoch": 1000, "tracker": "ring", "memory_bytes": 1 << 26, "vcpus": 1},
        **{"stamp_ns": 10**9, "counters": {}, "histograms": {}},
    }
    return WorkerStatus(**{**fields, **changes})


def report(*workers: WorkerStatus) -> StatusReport:
    """What `status` answers."""
    host = HostInfo(name="alpha", version="1", pid=1, memory_available_bytes=1 << 30, peers=["beta"])
    return StatusReport(host=host, workers=list(workers), unresponsive=[])
