"""Builds the data plane into the extension module ``ftd._dataplane`` (cffi, API mode)."""

from __future__ import annotations

from pathlib import Path

from cffi import FFI

HERE = Path(__file__).resolve().parent
DEVICES = HERE.parent / "vm" / "microvm"
UAPI = HERE.parents[1] / "kernel-patches" / "include" / "uapi"
"""linux/kvm_mt.h, for systems whose own headers lack it: searched last."""
WARNINGS = [
    "-Wall",
    "-Wextra",
    "-Wshadow",
    "-Wconversion",
    "-Wstrict-prototypes",
    "-Wmissing-prototypes",
    "-Wpointer-arith",
    "-Wformat=2",
]


def sources() -> list[Path]:
    """Every C source of the data plane, devices included, in a stable order."""
    return sorted([*HERE.glob("*.c"), *DEVICES.glob("*.c")])


def headers() -> list[Path]:
    return sorted([*HERE.glob("*.h"), *DEVICES.glob("*.h"), UAPI / "linux" / "kvm_mt.h"])


ffibuilder = FFI()
ffibuilder.cdef((HERE / "api.h").read_text())
ffibuilder.set_source(
    "ftd._dataplane",
    '#include "base.h"',
    sources=[str(path.relative_to(HERE.parents[1])) for path in sources()],
    depends=[str(path.relative_to(HERE.parents[1])) for path in headers()],
    include_dirs=[str(HERE), str(DEVICES)],
    extra_compile_args=[
        "-std=gnu11",
        "-O2",
        "-g",
        "-fno-strict-aliasing",
        "-pthread",
        "-idirafter",
        str(UAPI),
    ],
    extra_link_args=["-pthread"],
)

if __name__ == "__main__":
    ffibuilder.compile(tmpdir=str(HERE.parents[1]), verbose=True)
