"""One worker process: started so that it survives ftd, or found again; asked things; seen when it ends."""

import os
import signal
import socket
import struct
import sys
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, TypeVar

import trio

from ftd.errors import ControlError, ErrorKind
from ftd.limits import ready_deadline_s
from ftd.protocol import envelope
from ftd.protocol.control import (
    EXIT_REBOOT,
    WORKER_STATUS,
    Message,
    Method,
    Nothing,
    ReadyReport,
    WorkerSpec,
    WorkerStatus,
)
from ftd.transport.client import call_unix
from ftd.transport.framing import TransportError, TransportFailure

P = TypeVar("P", bound=Message)
R = TypeVar("R", bound=Message)

READY_FD: Final = 3
TAP_FD: Final = 4
READY_REPORT_BYTES_MAX: Final = 65536
LOG_TAIL_LINES: Final = 5
LOG_TAIL_CHARACTERS: Final = 1000
CLEAN_END: Final = "ended by itself"
# Between the close of a dying worker's sockets and its end lies the return of its memory.
ENDING_S: Final = 2.0
# A worker is no service of systemd's: it must not speak in ftd's name.
NOT_FOR_WORKERS: Final = frozenset({"NOTIFY_SOCKET", "WATCHDOG_PID", "WATCHDOG_USEC"})


class WorkerGone(ControlError):
    """The worker ended before it answered. Its guest may live on with the peer."""


@dataclass(eq=False, slots=True)
class Worker:
    """A running worker process. `pidfd` is ours to close, by `reap`."""

    spec: WorkerSpec
    pid: int
    pidfd: int
    log_path: Path
    gone: trio.Event = field(default_factory=trio.Event)
    unwanted: bool = False
    """It was asked to end: whatever its guest wanted."""
    exit_code: int | None = None
    """Once it is gone; None: killed, or an earlier ftd's child."""

    async def status(self) -> WorkerStatus:
        """What the worker says of itself. Raises ControlError when it does not answer."""
        return await self.call(WORKER_STATUS, Nothing())

    async def call(self, method: Method[P, R], params: P) -> R:
        """One request. Raises the worker's ControlError, WorkerGone, or ControlError(TIMEOUT)."""
        vm = self.spec.vm
        try:
            return await call_unix(Path(self.spec.socket_path), method, params)
        except TransportError as error:
            if error.failure is TransportFailure.TIMEOUT or not await self.has_ended():
                raise ControlError(
                    ErrorKind.TIMEOUT,
                    f"the worker of VM {vm} (pid {self.pid}) does not answer {method.name}: {error}. "
                    f"Is it stopped, or its host overloaded? Its log is {self.log_path}",
                ) from error
            raise WorkerGone(
                ErrorKind.INTERNAL,
                f"the worker of VM {vm} ended during {method.name}; "
                f"the last it said: {log_tail(self.log_path)}",
            ) from error

    async def has_ended(self) -> bool:
        """Whether the process is gone. A dying one closes its sockets first: so this waits a moment."""
        with trio.move_on_after(ENDING_S):
            await self.gone.wait()
        return self.gone.is_set()

    def kill(self) -> None:
        """SIGKILL. Harmless when the process has ended."""
        if not self.gone.is_set():
            with suppress(ProcessLookupError):
                signal.pidfd_send_signal(self.pidfd, signal.SIGKILL)

    async def reap(self) -> str:
        """Waits for the end of the process; returns how it ended, in words."""
        try:
            await trio.lowlevel.wait_readable(self.pidfd)
            ended = os.waitid(os.P_PIDFD, self.pidfd, os.WEXITED)  # noqa: ASYNC222 - it has ended
        except ChildProcessError:
            return "ended"  # an earlier ftd's child: only init learns its exit code
        finally:
            os.close(self.pidfd)
        assert ended is not None, "only WNOHANG returns None"
        if ended.si_code == os.CLD_EXITED:
            self.exit_code = ended.si_status
            if ended.si_status == EXIT_REBOOT:
                return CLEAN_END
            return f"exited with code {ended.si_status}" if ended.si_status else CLEAN_END
        return f"killed by {signal.Signals(ended.si_status).name}"


def start(spec: WorkerSpec, spec_path: Path, log_path: Path, tap_fd: int | None = None) -> tuple[Worker, int]:
    """Starts a worker; returns it and the read end of its ready pipe, which `wait_ready` closes.

    The worker inherits `tap_fd`, which stays the caller's and must be above TAP_FD.
    """
    spec_path.unlink(missing_ok=True)
    with open(os.open(spec_path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(envelope.encode(spec))
    tap_arguments = [] if tap_fd is None else ["--tap-fd", str(TAP_FD)]
    tap_action = [] if tap_fd is None else [(os.POSIX_SPAWN_DUP2, tap_fd, TAP_FD)]
    ready_read, ready_write = os.pipe()
    log_fd = os.open(log_path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND, 0o640)
    try:
        # posix_spawn and not subprocess: nothing of ours may wait for a child that is meant to outlive us.
        pid = os.posix_spawn(
            sys.executable,
            [*worker_command(spec_path), *tap_arguments],
            worker_environment(os.environ),
            file_actions=[
                (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
                (os.POSIX_SPAWN_DUP2, log_fd, 1),
                (os.POSIX_SPAWN_DUP2, log_fd, 2),
                (os.POSIX_SPAWN_DUP2, ready_write, READY_FD),
                *tap_action,
            ],
            setsid=True,
            setsigmask=[],
        )
    except OSError as error:
        os.close(ready_read)
        raise ControlError(ErrorKind.INTERNAL, f"cannot start a worker: {error}") from error
    finally:
        os.close(ready_write)
        os.close(log_fd)
    return Worker(spec, pid, os.pidfd_open(pid), log_path), ready_read


def worker_command(spec_path: Path) -> list[str]:
    """Arguments of a worker process."""
    return [sys.executable, "-m", "ftd.worker", "--spec", str(spec_path), "--ready-fd", str(READY_FD)]


def worker_environment(environment: Mapping[str, str]) -> dict[str, str]:
    """Environment of a worker process."""
    return {name: value for name, value in environment.items() if name not in NOT_FOR_WORKERS}


async def wait_ready(worker: Worker, ready_read: int) -> int:
    """Waits until a started worker is ready; returns the port on which it listens for data, or 0.

    Raises the worker's own refusal, or a ControlError with the end of its log when it died or hangs. In
    either case the process is on its way out.
    """
    report, deadline_s = bytearray(), ready_deadline_s(worker.spec.memory_bytes)
    try:
        async with trio.lowlevel.FdStream(ready_read) as pipe:
            with trio.fail_after(deadline_s):
                while chunk := await pipe.receive_some(4096):
                    report += chunk
                    if len(report) > READY_REPORT_BYTES_MAX:
                        raise envelope.FrameError("it is too long")
        return _port_in(bytes(report), worker)
    except trio.TooSlowError:
        worker.kill()
        why = f"was not ready within {deadline_s:.3g} s"
    except envelope.FrameError as error:
        worker.kill()
        why = f"gave a ready report that cannot be read: {error}"
    raise _start_failed(worker, why)


def _port_in(report: bytes, worker: Worker) -> int:
    if not report:
        raise _start_failed(worker, "died before it was ready")
    ready = envelope.decode(report, ReadyReport)
    if ready.error is not None:
        raise ControlError(_kind(ready.error.get("kind", "")), ready.error.get("message", "no reason given"))
    if ready.port is None:
        raise envelope.FrameError("neither port nor error")
    return ready.port


def _kind(name: str) -> ErrorKind:
    try:
        return ErrorKind(name)
    except ValueError:
        return ErrorKind.INTERNAL


def _start_failed(worker: Worker, why: str) -> ControlError:
    message = f"the worker of VM {worker.spec.vm} {why}; the last it said: {log_tail(worker.log_path)}"
    return ControlError(ErrorKind.INTERNAL, message)


def log_tail(path: Path) -> str:
    """The last lines of a worker's log, in one."""
    try:
        lines = path.read_text(errors="replace").splitlines()
    except OSError as error:
        return f"(no log: {error.strerror})"
    return " | ".join(lines[-LOG_TAIL_LINES:])[-LOG_TAIL_CHARACTERS:] or "(nothing)"


async def adopt(spec_path: Path, socket_path: Path, log_path: Path) -> Worker | None:
    """The worker that listens on `socket_path`, started by an earlier ftd; None when the socket is stale.

    Raises ControlError when someone listens who cannot be made out to be a worker.
    """
    pid = await _listening_pid(socket_path)
    if pid is None:
        return None
    try:
        pidfd = os.pidfd_open(pid)
    except ProcessLookupError:
        return None
    try:
        spec = envelope.decode(spec_path.read_bytes(), WorkerSpec)
        if spec.socket_path != str(socket_path):
            raise envelope.FrameError(f"it is the spec of {spec.socket_path}")
    except (OSError, envelope.FrameError) as error:
        os.close(pidfd)
        message = f"pid {pid} listens on {socket_path}, but {spec_path} does not describe it: {error}"
        raise ControlError(ErrorKind.INTERNAL, message) from error
    return Worker(spec, pid, pidfd, log_path)


async def _listening_pid(socket_path: Path) -> int | None:
    try:
        stream = await trio.open_unix_socket(socket_path)
    except (ConnectionRefusedError, FileNotFoundError):
        return None
    except OSError as error:
        raise ControlError(ErrorKind.INTERNAL, f"cannot connect to {socket_path}: {error}") from error
    async with stream:
        # For a listening socket's client the kernel names the process that called listen().
        credentials = stream.socket.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
        pid, _, _ = struct.unpack("3i", credentials)
    return int(pid)
