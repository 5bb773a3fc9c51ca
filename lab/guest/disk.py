"""The guest's disk: an ext4 root with a journal, in which a database keeps its file."""

from pathlib import Path
from typing import Final

from lab import cache
from lab.commands import run
from lab.debian import packages
from lab.guest import programs, redis, services
from lab.host.initramfs import busybox

SIZE_MIB: Final = 256
_APPLETS: Final = ("init", "getty", "poweroff", "reboot")
_FOLDERS: Final = ("dev", "proc", "sys", "run", "tmp", "root", "etc/redis", "var/log", "var/lib/redis")


def build() -> Path:
    """The image: sparse, never to be written, each guest gets a copy. Raises LabError, MissingError."""
    packages.require(["e2fsprogs"], why="making the disk of the lab's guest")
    compiled = programs.build()
    chosen = redis.versions()
    files = [path.read_bytes() for path in sorted(programs.INSIDE.iterdir()) if path.suffix != ".c"]
    this = [Path(__file__).read_bytes(), Path(redis.__file__).read_bytes(), busybox().read_bytes()]
    packed = [f"{name} {version}" for name, version in chosen.items()]
    key = cache.key_of(compiled.name, *packed, *files, *this)

    def make(part: Path) -> None:
        print("lab: making the guest's disk", flush=True)
        root = part / "root"
        redis.lay_out(root, chosen)
        _add_system(root, compiled)
        made = part / "disk.ext4"
        now = "no_copy_xattrs,lazy_itable_init=0,lazy_journal_init=0"
        options = ["-q", "-t", "ext4", "-b", "4096", "-m", "0", "-E", now]
        run(["mke2fs", *options, "-d", root, made, f"{SIZE_MIB}M"], what="making the guest's disk")
        run(["rm", "-rf", root], what="clearing away")

    return cache.made_once(cache.folder() / "guest" / f"disk-{key}", make) / "disk.ext4"


def copy(to: Path) -> None:
    """A disk for one guest, sparse as the image is. Raises LabError, MissingError."""
    run(["cp", "--sparse=always", build(), to], what="copying the guest's disk")


def _add_system(root: Path, compiled: Path) -> None:
    for folder in _FOLDERS:
        (root / folder).mkdir(parents=True, exist_ok=True)
    _put(root / "bin/busybox", busybox().read_bytes(), mode=0o755)
    for applet in run([busybox(), "--list"], what="asking busybox what it can").split():
        link = root / "sbin" / applet if applet in _APPLETS else root / "bin" / applet
        if not link.exists():
            link.symlink_to("/bin/busybox")
    for name in programs.NAMES:
        _put(root / "bin" / name, (compiled / name).read_bytes(), mode=0o755)
    for name, (data, mode) in services.files().items():
        _put(root / name, data, mode=mode)
    with (root / "etc/inittab").open("a") as file:
        file.write(services.DATABASE)
    _put(root / "etc/redis/redis.conf", (programs.INSIDE / "redis.conf").read_bytes())


def _put(path: Path, data: bytes, *, mode: int = 0o644) -> None:
    path.write_bytes(data)
    path.chmod(mode)
