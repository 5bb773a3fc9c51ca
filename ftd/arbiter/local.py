"""Arbiter for hosts that share a machine or a file system: one record file and one lock file per VM in one
directory.

The lock (flock, released by the kernel when its holder dies) makes read, compare and replace one step. The
directory must exist: one that was made by us because a shared file system is not mounted would hand out every
generation a second time. For the same reason a record that is missing, damaged or older than what the claimer
holds is no answer.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final, TypeVar

import trio

from ftd.arbiter import decisions, record_file
from ftd.arbiter.contract import ArbiterUnreachable, Lost, Record, Won
from ftd.arbiter.record import ADVICE, DamagedRecord
from ftd.arbiter.record_file import FaultPoint

LOCK_TIMEOUT_MS: Final = 1_000
ANSWER_TIMEOUT_MS: Final = 3_000
"""Bounds what the lock does not: a file system that hangs."""
_LOCK_POLL_S: Final = 0.005

T = TypeVar("T")


def _no_fault(_step: str) -> None:
    """Steps end without incident."""


class LocalArbiter:
    """Arbiter whose records are files in ``directory``. Creating it touches nothing."""

    def __init__(
        self,
        directory: Path,
        *,
        lock_timeout_ms: int = LOCK_TIMEOUT_MS,
        answer_timeout_ms: int = ANSWER_TIMEOUT_MS,
        fault: FaultPoint = _no_fault,
    ) -> None:
        self._directory = directory
        self._lock_timeout_ms = lock_timeout_ms
        self._answer_timeout_ms = answer_timeout_ms
        self._fault = fault

    async def claim(self, vm_id: str, expected: int, holder: str, claim_id: bytes) -> Won | Lost:
        """See the contract. Raises ValueError for a holder or claim id that cannot be one."""
        path = self._path(vm_id)
        wanted = decisions.wanted(vm_id, expected, holder, claim_id)
        return await self._answer(
            f"claiming generation {wanted.generation}", path, lambda: self._claim(path, wanted)
        )

    async def read(self, vm_id: str) -> Record | None:
        """See the contract."""
        path = self._path(vm_id)
        return await self._answer("reading the generation", path, lambda: self._read_unlocked(path))

    async def release(self, vm_id: str, generation: int, holder: str) -> bool:
        """See the contract."""
        path = self._path(vm_id)
        return await self._answer(
            f"releasing generation {generation}", path, lambda: self._release(path, generation, holder)
        )

    def _path(self, vm_id: str) -> Path:
        return self._directory / f"{decisions.canonical(vm_id)}.json"

    async def _answer(self, task: str, path: Path, blocking: Callable[[], T]) -> T:
        """Run ``blocking`` in a thread, within the time limit. A thread that hangs in the file system is left
        behind: whatever it still does is what a lost answer means, and claims are repeated with their id."""
        try:
            with trio.fail_after(self._answer_timeout_ms / 1000):
                return await trio.to_thread.run_sync(blocking, abandon_on_cancel=True)
        except trio.TooSlowError as error:
            why = f"no answer from the file system within {self._answer_timeout_ms} ms"
            raise ArbiterUnreachable(f"{task} in {path}: {why}") from error
        except OSError as error:
            raise ArbiterUnreachable(f"{task} in {path}: {_explain(error)}") from error
        except DamagedRecord as error:
            raise ArbiterUnreachable(f"{task}: {error}; {ADVICE}") from error

    def _read_unlocked(self, path: Path) -> Record | None:
        # Replaced whole by rename, the file is consistent without the lock.
        if not self._directory.is_dir():
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(self._directory))
        return record_file.read(path, path.stem)

    def _claim(self, path: Path, wanted: Record) -> Won | Lost:
        with self._locked(path):
            self._fault("locked")
            answer = decisions.judge(record_file.read(path, path.stem), wanted, path)
            if answer is None:
                record_file.write(path, wanted, self._fault)
                return Won(wanted)
            if isinstance(answer, Won):
                # Its rename may have been the last thing before a crash: nobody may hear Won before it is
                # durable.
                record_file.make_durable(path.parent)
            return answer

    def _release(self, path: Path, generation: int, holder: str) -> bool:
        with self._locked(path):
            released = decisions.released(record_file.read(path, path.stem), generation, holder)
            if released is not None:
                record_file.write(path, released, self._fault)
            return released is not None

    @contextlib.contextmanager
    def _locked(self, path: Path) -> Iterator[None]:
        descriptor = os.open(path.with_suffix(".lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            self._lock(descriptor)
            yield
        finally:
            os.close(descriptor)

    def _lock(self, descriptor: int) -> None:
        # Polled, because a blocking flock in a thread can be neither timed nor cancelled.
        deadline = time.monotonic() + self._lock_timeout_ms / 1000
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if time.monotonic() >= deadline:
                    held = f"the lock was held by another process for {self._lock_timeout_ms} ms"
                    raise TimeoutError(errno.ETIMEDOUT, held) from None
                time.sleep(_LOCK_POLL_S)
            else:
                return


def _explain(error: OSError) -> str:
    match error.errno:
        case errno.ENOENT:
            return "the directory does not exist: mount it, or create it where both hosts see it"
        case errno.ENOSPC | errno.EDQUOT:
            return "the file system is full"
        case errno.EACCES | errno.EPERM | errno.EROFS:
            return f"not permitted to write there ({error.strerror})"
    return error.strerror or str(error)
