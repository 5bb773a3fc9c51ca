"""Builds the bare guests with the system's gcc and binutils.

Uses nothing but the standard library, and runs by path too (``python build.py OUT_DIR``), because the
package's own build calls it before the package exists.
"""

import subprocess
import sys
import tempfile
from pathlib import Path

SOURCE_DIR = Path(__file__).resolve().parent
GUESTS = {
    "ledger": ("ledger.c", "chain.c", "console.c", "virtio.c", "serial.c"),
    "toucher": ("toucher.c",),
    "filler": ("filler.c",),
    "echoer": ("echoer.c", "chain.c", "net.c", "virtio.c", "serial.c"),
    "scribbler": ("scribbler.c", "disk.c", "serial.c"),
}
WARNINGS = ("-Wall", "-Wextra", "-Werror", "-Wconversion", "-Wshadow", "-Wstrict-prototypes")
CFLAGS = (
    *("-std=gnu11", "-O2", "-ffreestanding", "-fno-pic", "-fno-pie", "-mno-red-zone", "-mgeneral-regs-only"),
    *("-fno-stack-protector", "-fno-asynchronous-unwind-tables", "-fcf-protection=none"),
    # No library: the compiler must not turn a loop into a call of memset or memcpy.
    "-fno-tree-loop-distribute-patterns",
)
LDFLAGS = (
    *("-nostdlib", "-static", "-no-pie", "-Wl,--build-id=none"),
    *("-Wl,-z,noexecstack", "-Wl,--no-warn-rwx-segments"),
)


class GuestBuildError(Exception):
    """A tool of the guests' build is missing or refused its input; the message holds what it said."""


def image_path(guest: str, image_dir: Path = SOURCE_DIR) -> Path:
    """Where the image of one of `GUESTS` lies after `build(image_dir)`.

    Raises KeyError for an unknown guest and FileNotFoundError when the image was not built.
    """
    if guest not in GUESTS:
        raise KeyError(f"no guest {guest!r}; there are {', '.join(GUESTS)}")
    path = image_dir / f"{guest}.bin"
    if not path.is_file():
        raise FileNotFoundError(f"{path} is missing: build the guests first (python {__file__})")
    return path


def build(out_dir: Path) -> None:
    """Writes ``<guest>.bin`` of every guest into `out_dir`. The same sources and tools give the same bytes.

    Raises GuestBuildError when the compiler or objcopy is missing or fails.
    """
    out_dir.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="ftd-guests-") as work:
        for guest, sources in GUESTS.items():
            elf = Path(work) / f"{guest}.elf"
            image = Path(work) / f"{guest}.bin"
            _run("gcc", *WARNINGS, *CFLAGS, *LDFLAGS, "-T", "guest.ld", "-o", str(elf), "start.S", *sources)
            _run("objcopy", "-O", "binary", str(elf), str(image))
            (out_dir / image.name).write_bytes(image.read_bytes())


def _run(*command: str) -> None:
    try:
        result = subprocess.run(command, cwd=SOURCE_DIR, capture_output=True, text=True, check=False)
    except FileNotFoundError as error:
        raise GuestBuildError(f"{command[0]} is missing: install gcc and binutils") from error
    if result.returncode != 0:
        raise GuestBuildError(f"{' '.join(command)} failed:\n{result.stderr}")


if __name__ == "__main__":
    build(Path(sys.argv[1]) if len(sys.argv) > 1 else SOURCE_DIR)
