"""The file system that both hosts see, with the arbiter's record on it.

What was written and not synced may be torn by a loss of power; a rename whose directory was not synced may be
undone by one. It can be full, fail, be slow, or be out of a host's reach: then calls hang until it is back.
"""

from __future__ import annotations

import errno
import io
import os
from collections.abc import Callable
from functools import partial

from tests.sim.clockwork import MS, Clockwork
from tests.sim.process import Host, Lane, Process


class HostCrashed(BaseException):
    """A host loses power in the middle of a call. No code of it runs on to handle that."""

    def __init__(self, host_lost_power: Callable[[], None]) -> None:
        super().__init__()
        self.host_lost_power = host_lost_power


class Disk:
    """Files by name, and what may still happen to them."""

    def __init__(self, clockwork: Clockwork) -> None:
        self.clockwork = clockwork
        self.files: dict[str, bytes] = {}
        self.acting: Host | None = None
        self.unreachable: dict[str, None] = {}
        """Names of hosts for which calls hang."""
        self.slow_us: dict[str, int] = {}
        """By host: the answer takes up to this long."""
        self.failing: int = 0
        """errno of half of all writes and syncs; 0: none fail."""
        self.crash: Callable[[Host], None] = lambda host: None
        self.damaged: dict[str, bytes] = {}
        """What a damaged file should hold."""
        self._unsynced: dict[str, Host] = {}
        self._renamed: list[tuple[Host, str, bytes | None]] = []
        self._hanging: list[tuple[Process, Callable[[], None]]] = []

    # When calls are made, and answered.

    def when_reached(self, process: Process, call: Callable[[], None]) -> None:
        """``call`` is made when the process's host reaches the file system."""
        if process.host.name in self.unreachable:
            self._hanging.append((process, call))
        else:
            process.later(
                self.answer_delay_us(process.host), partial(self._reach, process, call), Lane.THREAD
            )

    def _reach(self, process: Process, call: Callable[[], None]) -> None:
        if process.host.name in self.unreachable:
            self._hanging.append((process, call))
        else:
            call()

    def come_back(self) -> None:
        """Everything works again; what hung is done now."""
        self.unreachable.clear()
        self.slow_us.clear()
        self.failing = 0
        hanging, self._hanging = self._hanging, []
        for process, call in hanging:
            self.when_reached(process, call)

    def damage(self, name: str) -> None:
        """The file is not what was written any more."""
        whole = self.files[name]
        self.damaged[name] = whole
        self.files[name] = whole[: len(whole) // 2]

    def restore(self) -> None:
        """Somebody puts a damaged file right."""
        self.files.update(self.damaged)
        self.damaged.clear()

    def answer_delay_us(self, host: Host) -> int:
        """How long half of a call takes."""
        return self.clockwork.random.randrange(MS // 2, self.slow_us.get(host.name, 0) + MS)

    # What the calls do.

    def step(self, step: str) -> None:
        """FaultPoint of the production code: the acting host may lose power here."""
        host = self.acting
        assert host is not None
        if host.crash_at_step == step:
            host.crash_at_step = ""
            raise HostCrashed(partial(self.crash, host))

    def _may_fail(self) -> None:
        if self.failing and self.clockwork.random.random() < 0.5:
            raise OSError(self.failing, os.strerror(self.failing))

    def write(self, name: str, data: bytes) -> int:
        """Appends; on a full disk only a part of it. Raises OSError."""
        assert self.acting is not None
        self._may_fail()
        if self.failing == errno.ENOSPC:
            data = data[: self.clockwork.random.randrange(1, len(data) + 1)]
        self.files[name] = self.files.get(name, b"") + data
        self._unsynced[name] = self.acting
        return len(data)

    def sync(self, name: str) -> None:
        """Makes contents, or for the directory ("") renames, outlast a loss of power. Raises OSError."""
        self._may_fail()
        if name:
            self._unsynced.pop(name, None)
        else:
            self._renamed.clear()

    def rename(self, old: str, new: str) -> None:
        """Replaces ``new``. Raises OSError."""
        assert self.acting is not None
        self._may_fail()
        self._renamed.append((self.acting, new, self.files.get(new)))
        self.files[new] = self.files.pop(old)
        self.damaged.pop(new, None)
        if old in self._unsynced:
            self._unsynced[new] = self._unsynced.pop(old)

    def power_lost(self, host: Host) -> None:
        """What ``host`` had not synced is as chance leaves it."""
        random = self.clockwork.random
        for made_by, name, before in reversed(self._renamed):
            if made_by is host and random.random() < 0.5:
                self.files.pop(name)
                if before is not None:
                    self.files[name] = before
        self._renamed = [entry for entry in self._renamed if entry[0] is not host]
        for name in [name for name, made_by in self._unsynced.items() if made_by is host]:
            contents = self.files.get(name, b"")
            self.files[name] = contents[: random.randrange(len(contents) + 1)]
            del self._unsynced[name]


class SimPath:
    """As much of pathlib.Path as the arbiter uses, in one directory."""

    def __init__(self, disk: Disk, name: str = "") -> None:
        self.disk = disk
        self.name = name

    def __str__(self) -> str:
        return f"/arbiter/{self.name}"

    def __truediv__(self, name: str) -> SimPath:
        return SimPath(self.disk, name)

    @property
    def parent(self) -> SimPath:
        """The directory."""
        return SimPath(self.disk)

    @property
    def stem(self) -> str:
        """Without the suffix."""
        return self.name.rsplit(".", 1)[0]

    def with_name(self, name: str) -> SimPath:
        """Another file of the directory."""
        return SimPath(self.disk, name)

    def with_suffix(self, suffix: str) -> SimPath:
        """The file beside it."""
        return SimPath(self.disk, self.stem + suffix)

    def is_dir(self) -> bool:
        """The directory is always there; it is out of reach or not."""
        return not self.name

    def open(self, _mode: str) -> io.BytesIO:
        """For reading. Raises FileNotFoundError."""
        if self.name not in self.disk.files:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), self.name)
        return io.BytesIO(self.disk.files[self.name])

    def rename(self, target: SimPath) -> None:
        """Raises OSError."""
        self.disk.rename(self.name, target.name)

    def unlink(self) -> None:
        """Raises FileNotFoundError."""
        if self.disk.files.pop(self.name, None) is None:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), self.name)


class SimOs:
    """The functions of ``os`` that the arbiter calls: a descriptor is the path itself."""

    O_RDONLY = O_WRONLY = O_RDWR = O_CREAT = O_CLOEXEC = O_DIRECTORY = 0
    O_TRUNC = 1
    strerror = staticmethod(os.strerror)

    @staticmethod
    def open(path: SimPath, flags: int, _mode: int = 0) -> SimPath:
        """Raises nothing: what fails are writes and syncs."""
        if flags & SimOs.O_TRUNC:
            path.disk.files[path.name] = b""
        return path

    @staticmethod
    def close(_path: SimPath) -> None:
        """Nothing to close."""

    @staticmethod
    def write(path: SimPath, data: bytes) -> int:
        """Raises OSError."""
        return path.disk.write(path.name, data)

    @staticmethod
    def fsync(path: SimPath) -> None:
        """Raises OSError."""
        path.disk.sync(path.name)


class SimFcntl:
    """Calls are made one at a time here, so a lock is always free."""

    LOCK_EX = LOCK_NB = 0

    @staticmethod
    def flock(_path: SimPath, _operation: int) -> None:
        """Taken."""
