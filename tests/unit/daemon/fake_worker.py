"""A worker without a guest: speaks the worker protocol, and a toy data connection of one byte per request.

The environment variable FAKE_WORKER names how it misbehaves; see `MISBEHAVIOURS`.
"""

import argparse
import os
import sys
import time
import uuid
from pathlib import Path

import msgspec
import trio

from ftd.errors import ControlError, ErrorKind
from ftd.protocol import envelope
from ftd.protocol.control import (
    EXIT_REBOOT,
    WORKER_CORRUPT,
    WORKER_ENTER,
    WORKER_FAILOVER,
    WORKER_FAULT,
    WORKER_LEAVE,
    WORKER_METHODS,
    WORKER_STATUS,
    WORKER_STOP,
    WORKER_SWITCHOVER,
    EnterWorkerParams,
    FailoverWorkerParams,
    FaultParams,
    Nothing,
    SyncProgress,
    WorkerSpec,
    WorkerStatus,
)
from ftd.transport.listen import unix_listener
from ftd.transport.server import ControlServer

MISBEHAVIOURS = {
    "",
    "die-at-start",
    "error-at-start",
    "garbage-at-start",
    "hang-at-start",
    "refuse-enter",
    "die-in-enter",
    "hang-in-enter",
    "ignore-stop",
    "reboot-in-enter",
}
LEAVE, LEFT, HANDOVER, DONE, WELCOME = b"L", b"l", b"H", b"h", b"w"


class FakeWorker:
    """State of one VM on one host, as the status shows it."""

    def __init__(self, spec: WorkerSpec, misbehaviour: str) -> None:
        self.spec = spec
        self.misbehaviour = misbehaviour
        self.state = "idle" if spec.role == "active" else "standby_syncing"
        self.role = spec.role
        self.generation = spec.generation or 1
        self.peer = spec.peer
        self.link: trio.SocketStream | None = None
        self.left_while_syncing = trio.Event()
        self.stopped = trio.Event()

    async def status(self, params: Nothing) -> WorkerStatus:
        syncing = self.state == "syncing"
        return WorkerStatus(
            vm=self.spec.vm,
            vm_id=str(uuid.UUID(bytes=self.spec.vm_id)),
            host=self.spec.host,
            pid=os.getpid(),
            role=self.role,
            state=self.state,
            generation=self.generation,
            epoch=7 if self.state in ("protected", "standby") else 0,
            tracker="ring",
            memory_bytes=self.spec.memory_bytes,
            vcpus=self.spec.vcpus,
            peer=self.peer,
            sync=SyncProgress(round=1, sent_bytes=50, total_bytes=100, pending_pages=9) if syncing else None,
            stamp_ns=time.monotonic_ns(),
            counters={"epochs_acked": 7},
            histograms={"pause_ns": [(40, 7)]},
        )

    async def enter(self, params: EnterWorkerParams) -> Nothing:
        if self.misbehaviour == "refuse-enter":
            raise ControlError(ErrorKind.REFUSED, "the standby refused: oversize")
        if self.misbehaviour == "die-in-enter":
            print("it is a good day to die", flush=True)
            os._exit(3)
        if self.misbehaviour == "reboot-in-enter":
            os._exit(EXIT_REBOOT)
        self.state = "syncing"
        if self.misbehaviour == "hang-in-enter":
            await self.left_while_syncing.wait()
            self.state = "idle"
            raise ControlError(ErrorKind.WRONG_STATE, "left before it was protected")
        self.link = await trio.open_tcp_stream(params.address, params.port)
        await self.link.send_all(params.token)
        assert await self.link.receive_some(1) == WELCOME
        self.state, self.peer = "protected", params.peer
        return Nothing()

    async def leave(self, params: Nothing) -> Nothing:
        if self.state == "syncing":
            self.left_while_syncing.set()
        else:
            await self._ask_standby(LEAVE, LEFT)
            self.state, self.peer = "idle", None
        return Nothing()

    async def switchover(self, params: Nothing) -> Nothing:
        await self._ask_standby(HANDOVER, DONE)
        self.state = "switched_over"
        return Nothing()

    async def failover(self, params: FailoverWorkerParams) -> Nothing:
        self._activate()
        return Nothing()

    async def stop(self, params: Nothing) -> Nothing:
        if self.misbehaviour == "ignore-stop":
            await trio.sleep_forever()
        self.stopped.set()
        return Nothing()

    async def corrupt(self, params: Nothing) -> Nothing:
        raise ControlError(ErrorKind.REFUSED, "there is no stream")

    async def fault(self, params: FaultParams) -> Nothing:
        raise ControlError(ErrorKind.REFUSED, "faults are not enabled")

    async def stand_by(self, listener: trio.SocketListener) -> None:
        async with await listener.accept() as link:
            if await link.receive_some(16) != self.spec.token:
                os._exit(4)
            self.state = "standby"
            await link.send_all(WELCOME)
            asked = await link.receive_some(1)
            if asked == LEAVE:
                self.state = "discarded"
                await link.send_all(LEFT)
            elif asked == HANDOVER:
                self._activate()
                await link.send_all(DONE)
            else:
                self._activate()

    def _activate(self) -> None:
        self.state, self.role, self.generation = "simplex", "active", self.generation + 1

    async def _ask_standby(self, question: bytes, answer: bytes) -> None:
        assert self.link is not None
        await self.link.send_all(question)
        assert await self.link.receive_some(1) == answer
        await self.link.aclose()


def report_ready(fd: int, report: object) -> None:
    with open(fd, "wb") as pipe:
        pipe.write(msgspec.msgpack.encode(report))


async def main(spec: WorkerSpec, ready_fd: int, misbehaviour: str) -> None:
    worker = FakeWorker(spec, misbehaviour)
    server = ControlServer(WORKER_METHODS)
    server.handle(WORKER_STATUS, worker.status)
    server.handle(WORKER_ENTER, worker.enter)
    server.handle(WORKER_LEAVE, worker.leave)
    server.handle(WORKER_SWITCHOVER, worker.switchover)
    server.handle(WORKER_FAILOVER, worker.failover)
    server.handle(WORKER_STOP, worker.stop)
    server.handle(WORKER_FAULT, worker.fault)
    server.handle(WORKER_CORRUPT, worker.corrupt)
    async with unix_listener(Path(spec.socket_path)) as listener, trio.open_nursery() as nursery:
        await nursery.start(server.serve, [listener])
        port = 0
        if spec.data_listen is not None:
            [data] = await trio.open_tcp_listeners(0, host=spec.data_listen)
            port = data.socket.getsockname()[1]
            nursery.start_soon(worker.stand_by, data)
        report_ready(ready_fd, {"port": port})
        await worker.stopped.wait()
        await trio.sleep(0.05)  # the answer to stop is on its way
        nursery.cancel_scope.cancel()


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--spec", type=Path)
    parser.add_argument("--ready-fd", type=int)
    arguments = parser.parse_args()
    how = os.environ.get("FAKE_WORKER", "")
    assert how in MISBEHAVIOURS
    if how == "die-at-start":
        sys.exit("no such device: /dev/fake")
    elif how == "error-at-start":
        error = {"kind": "no-kvm", "message": "/dev/kvm cannot be opened: permission denied"}
        report_ready(arguments.ready_fd, {"error": error})
    elif how == "garbage-at-start":
        report_ready(arguments.ready_fd, {"prot": 1})
    elif how == "hang-at-start":
        time.sleep(600)
    else:
        trio.run(main, envelope.decode(arguments.spec.read_bytes(), WorkerSpec), arguments.ready_fd, how)
