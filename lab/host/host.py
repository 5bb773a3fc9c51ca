"""A host: started, given commands, killed."""

import base64
import os
import secrets
import shlex
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import trio

from lab.errors import LabError
from lab.host import emulator, initramfs
from lab.host.kernel_log import trouble_in
from lab.host.spec import Spec

# It only bounds how long a failure takes. The machine may be busy with other hosts.
BOOT_DEADLINE_S: Final = 180.0
# A command is ended inside by its time limit. A host that does not answer so much later is taken for dead.
ANSWER_SLACK_S: Final = 20.0
LOG_LINES_SHOWN: Final = 15
KILLED: Final = 128 + 9
"""Exit status of a command that was still running at its time limit."""


class HostError(LabError):
    """The host died, or does not answer. The message has the end of its kernel's log."""


@dataclass(frozen=True)
class Finished:
    """A command that has run. `output` is what it wrote to standard output and standard error."""

    status: int
    output: bytes
    seconds: float


class Host:
    """One machine with an emulator process of its own. Made by `running`."""

    def __init__(self, spec: Spec, emulator_: emulator.Emulator, token: str) -> None:
        self.spec = spec
        self._emulator = emulator_
        self._stream = trio.SocketStream(trio.socket.from_stdlib_socket(emulator_.control))
        self._mark = f"\n{token} ".encode()
        self._received = b"\n"  # as if a line had ended: the first mark stands at the very beginning
        self._files_taken_bytes = 0

    @property
    def kernel_log(self) -> str:
        """All that the kernel has written to its console so far."""
        return _contents(self._emulator.console_fd, 0).decode(errors="replace").replace("\r", "")

    @property
    def trouble(self) -> list[str]:
        """The lines of the kernel's log that say that the kernel is not well."""
        return trouble_in(self.kernel_log)

    async def wait_booted(self) -> None:
        """Returns when the host takes commands. Raises HostError when it does not within 180 s."""
        await self._answer(BOOT_DEADLINE_S, "starting", None)

    async def run(
        self,
        command: str | Sequence[str],
        *,
        timeout_s: float = 60,
        on_output: Callable[[bytes], object] | None = None,
    ) -> Finished:
        """Runs a shell command, or a program given as words, to its end; one at a time.

        `on_output` gets the output as it comes. Status 137: it was ended at `timeout_s`. Raises HostError
        when the host dies of it.
        """
        text = command if isinstance(command, str) else shlex.join(command)
        line = f"{max(1, round(timeout_s))} {base64.b64encode(text.encode()).decode()}\n"
        began = trio.current_time()
        try:
            await self._stream.send_all(line.encode())
        except (trio.BrokenResourceError, trio.ClosedResourceError) as error:
            raise HostError(self._tell(f"was dead before `{text}`")) from error
        status, output = await self._answer(timeout_s + ANSWER_SLACK_S, f"running `{text}`", on_output)
        return Finished(status, output, trio.current_time() - began)

    async def take(self, paths: Sequence[str], into: Path) -> None:
        """Copies files and folders of the host into a folder here, under their paths inside.

        Raises LabError for a path that is not there.
        """
        relative = shlex.join(path.lstrip("/") for path in paths)
        done = await self.run(f'cd / && tar -cf "$LAB_FILES_PORT" {relative}', timeout_s=120)
        if done.status != 0:
            raise LabError(f"host {self.spec.name} gives no {' '.join(paths)}: {done.output.decode()}")
        data = _contents(self._emulator.files_fd, self._files_taken_bytes)
        self._files_taken_bytes += len(data)
        into.mkdir(parents=True, exist_ok=True)
        # tar keeps an archive's files in their folder; Python's module does not before 3.11.4.
        unpack = ["tar", "--extract", "--no-same-owner", "--directory", str(into)]
        await trio.run_process(unpack, stdin=data)

    def kill(self) -> None:
        """A power cut."""
        self._emulator.kill()

    def freeze(self) -> None:
        """Stops all of it, until `thaw`."""
        self._emulator.freeze()

    def thaw(self) -> None:
        """Ends `freeze`."""
        self._emulator.thaw()

    def close(self) -> None:
        """Kills it and gives everything back. Who waits for a command's end gets HostError."""
        self._emulator.kill()
        if trio.lowlevel.in_trio_run():
            self._stream.socket.close()
        self._emulator.close()

    async def _answer(
        self, timeout_s: float, doing: str, on_output: Callable[[bytes], object] | None
    ) -> tuple[int, bytes]:
        """Exit status and output, up to the mark that ends them."""
        output = bytearray()

        def hand_out(data: bytes) -> None:
            output.extend(data)
            if on_output is not None and data:
                on_output(data)

        with trio.move_on_after(timeout_s):
            while True:
                before, mark, after = self._received.partition(self._mark)
                if mark and b"\n" in after:
                    status, _, self._received = after.partition(b"\n")
                    hand_out(before)
                    return int(status), bytes(output)
                if not mark:
                    # What could be the beginning of a mark is kept back.
                    kept = self._received.rfind(b"\n", -len(self._mark))
                    kept = len(self._received) if kept < 0 else kept
                    hand_out(self._received[:kept])
                    self._received = self._received[kept:]
                try:
                    received = await self._stream.receive_some()
                except (trio.BrokenResourceError, trio.ClosedResourceError):
                    received = b""
                if not received:
                    raise HostError(self._tell(f"died while {doing}"))
                self._received += bytes(received)
        raise HostError(self._tell(f"did not end within {timeout_s:.0f} s: {doing}"))

    def _tell(self, what: str) -> str:
        tail = "\n".join((self.trouble or self.kernel_log.splitlines())[-LOG_LINES_SHOWN:])
        return f"host {self.spec.name} {what}. Of its kernel's log:\n{tail}"


async def start(spec: Spec) -> Host:
    """A host that has booted, to be closed by the caller. Raises HostError, MissingError, LabError.

    To be called from the main thread: the emulator dies with the thread that started it.
    """
    emulator.require()
    token = secrets.token_hex(8)
    process = emulator.start(spec, initramfs.build(spec, token))
    try:
        host = Host(spec, process, token)
        await host.wait_booted()
    except BaseException:
        process.close()
        raise
    return host


@asynccontextmanager
async def running(spec: Spec) -> AsyncIterator[Host]:
    """`start`, and killed at the end, whatever happens."""
    host = await start(spec)
    try:
        yield host
    finally:
        host.close()


def _contents(fd: int, offset: int) -> bytes:
    return os.pread(fd, os.fstat(fd).st_size - offset, offset)
