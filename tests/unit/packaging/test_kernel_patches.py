"""The series is whole, and makes the header that ftd compiles against."""

import subprocess
from pathlib import Path
from typing import Final

PATCHES: Final = Path(__file__).parents[3] / "kernel-patches"
HEADER: Final = "include/uapi/linux/kvm_mt.h"


def series() -> list[str]:
    return (PATCHES / "series").read_text().split()


def test_the_series_names_every_patch_in_order() -> None:
    assert series() == sorted(path.name for path in PATCHES.glob("*.patch"))


def test_the_series_makes_the_header_beside_it(tmp_path: Path) -> None:
    for name in series():
        command = ["git", "apply", f"--include={HEADER}", "--whitespace=error", str(PATCHES / name)]
        subprocess.run(command, cwd=tmp_path, check=True, capture_output=True)
    assert (tmp_path / HEADER).read_bytes() == (PATCHES / HEADER).read_bytes()
