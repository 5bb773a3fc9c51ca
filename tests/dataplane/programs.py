"""Builds the C programs of this folder together with the data plane's own sources, under sanitizers."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

HERE: Final = Path(__file__).parent
ROOT: Final = HERE.parents[1]
DATAPLANE: Final = ROOT / "ftd" / "dataplane"
DEVICES: Final = ROOT / "ftd" / "vm" / "microvm"
UAPI: Final = ROOT / "kernel-patches" / "include" / "uapi"
CHECK_FAILED: Final = 3
"""Exit code of a program whose own check failed (check.h)."""
SANITIZER_FAILED: Final = 66
SANITIZERS: Final = {
    "address": ("-fsanitize=address,undefined", "-fno-sanitize-recover=all"),
    "thread": ("-fsanitize=thread",),
}
ENVIRONMENT: Final = {
    "ASAN_OPTIONS": f"exitcode={SANITIZER_FAILED}:detect_leaks=1",
    "UBSAN_OPTIONS": f"exitcode={SANITIZER_FAILED}:print_stacktrace=1",
    "TSAN_OPTIONS": f"exitcode={SANITIZER_FAILED}:halt_on_error=1",
    "PATH": "/usr/bin:/bin",
}
FLAGS: Final = (
    *("-std=gnu11", "-g", "-O1", "-pthread", "-fno-strict-aliasing", "-Wall", "-Wextra"),
    *(f"-I{HERE}", f"-I{DATAPLANE}", f"-I{DEVICES}", "-idirafter", str(UAPI)),
)


@dataclass(frozen=True)
class Program:
    """One test program: its sources here, the product's that it runs, and what it replaces of them."""

    own: tuple[str, ...]
    product: tuple[str, ...]
    wrapped: tuple[str, ...] = ()
    """Functions NAME that the program provides as __wrap_NAME."""
    seconds: int = 60


_FRAME: Final = ("frame.c", "crc32c.c", "disk_log.c")
_STANDBY: Final = (
    *("standby.c", "image.c", "standby_disk.c", "disk_file.c"),
    *("heartbeat.c", "events.c", "base.c", "threads.c", "prefault.c"),
    *_FRAME,
)
_ARENAS: Final = ("reserve_pages", "release_pages")

PROGRAMS: Final = {
    "crc32c_model": Program(("crc32c_model.c",), ("crc32c.c",)),
    "histogram_index": Program(("histogram_index.c",), ()),
    "events_overflow": Program(("events_overflow.c",), ("events.c",)),
    "hotset_model": Program(("hotset_model.c", "exact_arenas.c"), ("hotset.c",), _ARENAS),
    "mt_model": Program(
        ("mt_model.c", "mt_kernel.c", "exact_arenas.c"),
        ("tracker_mt.c", "share.c", "base.c"),
        (*_ARENAS, "ioctl"),
    ),
    "pace_model": Program(("pace_model.c",), ("pace.c",)),
    "share_model": Program(("share_model.c",), ("share.c", "base.c")),
    "output_model": Program(("output_model.c", "exact_arenas.c"), ("output.c",), (*_ARENAS, "clock_gettime")),
    "block_model": Program(
        ("block_model.c", "exact_arenas.c", "stub_machine.c"),
        ("block.c", "virtio.c", "output.c", "events.c"),
        _ARENAS,
    ),
    "net_addresses_pipe": Program(("net_addresses_pipe.c",), ("net_addresses.c",)),
    "net_model": Program(
        ("net_model.c", "exact_arenas.c", "stub_machine.c"),
        ("net.c", "net_addresses.c", "virtio.c", "output.c", "events.c"),
        _ARENAS,
    ),
    "serial_model": Program(("serial_model.c",), ("serial.c", "power.c", "output.c", "base.c"), ("ioctl",)),
    "output_threads": Program(("output_threads.c",), ("output.c", "base.c")),
    "fuzz_standby": Program(
        ("fuzz_standby.c", "standby_model.c", "exact_arenas.c", "stub_machine.c"),
        (*_STANDBY, "fault.c", "output.c"),
        (*_ARENAS, "heartbeat_start", "heartbeat_stop"),
        seconds=150,
    ),
    "standby_threads": Program(
        ("fuzz_standby.c", "standby_model.c", "exact_arenas.c", "stub_machine.c"),
        (*_STANDBY, "fault.c", "output.c"),
        _ARENAS,
        seconds=100,
    ),
    "fuzz_acks": Program(
        ("fuzz_acks.c", "stub_machine.c", "stub_primary.c"),
        (
            *("primary.c", "primary_memory.c", "heartbeat.c", "events.c", "base.c", "threads.c"),
            *(*_FRAME, "fault.c", "output.c", "hotset.c", "placement.c", "pace.c"),
        ),
    ),
    "fuzz_heartbeat": Program(
        ("fuzz_heartbeat.c", "stub_machine.c"),  # which includes heartbeat.c
        (*_FRAME, "events.c", "base.c", "threads.c", "output.c"),
    ),
}


def product_source(name: str) -> Path:
    """Of the data plane or of the devices."""
    return next(folder / name for folder in (DATAPLANE, DEVICES) if (folder / name).exists())


def _run(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{' '.join(command)}\n{done.stderr}"


class Builder:
    """Compiles each source once for each sanitizer, and links programs from them."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._objects: dict[tuple[Path, str], Path] = {}

    def program(
        self,
        name: str,
        sanitizer: str = "address",
        edit: Callable[[str], str] | None = None,
        edited: str = "",
    ) -> Path:
        """The executable. With `edit`, its product source `edited` is changed by it before it is compiled."""
        program = PROGRAMS[name]
        objects = [self._object(HERE / source, sanitizer) for source in program.own]
        for source in program.product:
            if edit is not None and source == edited:
                objects.append(self._planted(product_source(source), sanitizer, edit))
            else:
                objects.append(self._object(product_source(source), sanitizer))
        suffix = f"-{len(list(self._folder.glob('*.planted')))}" if edit else ""
        executable = self._folder / f"{name}-{sanitizer}{suffix}"
        if not executable.exists():
            wraps = [f"-Wl,--wrap={function}" for function in program.wrapped]
            _run(
                *("gcc", *SANITIZERS[sanitizer], "-pthread", *wraps),
                *("-o", str(executable), *map(str, objects)),
            )
        return executable

    def _object(self, source: Path, sanitizer: str) -> Path:
        if (source, sanitizer) not in self._objects:
            made = self._folder / f"{source.parent.name}-{source.stem}-{sanitizer}.o"
            _run("gcc", *FLAGS, *SANITIZERS[sanitizer], "-c", str(source), "-o", str(made))
            self._objects[source, sanitizer] = made
        return self._objects[source, sanitizer]

    def _planted(self, source: Path, sanitizer: str, edit: Callable[[str], str]) -> Path:
        number = len(list(self._folder.glob("*.planted")))
        (self._folder / f"{number}.planted").touch()
        text = source.read_text()
        changed = edit(text)
        assert changed != text, f"{source} no longer has what the test would break"
        copy = self._folder / f"planted-{number}-{source.name}"
        copy.write_text(changed)
        made = copy.with_suffix(".o")
        _run("gcc", *FLAGS, *SANITIZERS[sanitizer], "-c", str(copy), "-o", str(made))
        return made


def run(
    executable: Path, *arguments: object, text: str = "", seconds: float = 60
) -> subprocess.CompletedProcess[str]:
    """Runs a program to its end. Raises TimeoutExpired."""
    return subprocess.run(
        [str(executable), *map(str, arguments)],
        input=text,
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
        timeout=seconds,
        check=False,
    )
