"""Archives in cpio's "newc" format, which the kernel unpacks into its first root."""

import stat
from pathlib import Path
from typing import Final

_TRAILER: Final = "TRAILER!!!"


class Archive:
    """Collects files; `bytes()` of it is the archive."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []
        self._inode = 0
        self._folders: set[str] = set()

    def add(self, name: str, data: bytes, *, mode: int = 0o644, mtime_s: int = 0) -> None:
        """A file, with the folders that lead to it."""
        self._lead_to(name)
        self._entry(name, stat.S_IFREG | mode, data, mtime_s)

    def link(self, name: str, target: str) -> None:
        """A symbolic link."""
        self._lead_to(name)
        self._entry(name, stat.S_IFLNK | 0o777, target.encode())

    def folder(self, name: str) -> None:
        """A folder, once."""
        if name and name not in self._folders:
            self._lead_to(name)
            self._folders.add(name)
            self._entry(name, stat.S_IFDIR | 0o755, b"")

    def add_tree(self, source: Path, name: str) -> None:
        """A file, or a folder with all that is in it, under `name`."""
        if source.is_symlink():
            self.link(name, str(source.readlink()))
        elif source.is_dir():
            self.folder(name)
            for child in sorted(source.iterdir()):
                self.add_tree(child, f"{name}/{child.name}")
        else:
            found = source.stat()
            # With its time: Python trusts a compiled module only if it knows the time of its source.
            mode, mtime_s = stat.S_IMODE(found.st_mode), int(found.st_mtime)
            self.add(name, source.read_bytes(), mode=mode, mtime_s=mtime_s)

    def __bytes__(self) -> bytes:
        return b"".join([*self._parts, self._header(_TRAILER, 0, 0)])

    def _lead_to(self, name: str) -> None:
        self.folder(name.rpartition("/")[0])

    def _entry(self, name: str, mode: int, data: bytes, mtime_s: int = 0) -> None:
        self._parts += [self._header(name, mode, len(data), mtime_s), data, bytes(-len(data) % 4)]

    def _header(self, name: str, mode: int, size_bytes: int, mtime_s: int = 0) -> bytes:
        self._inode += 1
        encoded = name.encode() + b"\0"
        # inode, mode, uid, gid, links, mtime, size, device (two), rdevice (two), name's size, checksum
        fields = (self._inode, mode, 0, 0, 1, mtime_s, size_bytes, 0, 0, 0, 0, len(encoded), 0)
        head = b"070701" + b"".join(b"%08X" % field for field in fields) + encoded
        return head + bytes(-len(head) % 4)
