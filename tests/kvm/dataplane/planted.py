"""Builds the extension from sources with one fault in them, beside the real one."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
from pathlib import Path
from typing import Final

from ftd.dataplane.build import DEVICES, HERE, UAPI, ffibuilder, sources

ROOT: Final = Path(__file__).parents[3]
FLAGS: Final = (
    *("-std=gnu11", "-O1", "-fno-strict-aliasing", "-pthread", "-fPIC", "-w"),
    *(f"-I{HERE}", f"-I{DEVICES}", f"-I{sysconfig.get_path('include')}", "-idirafter", str(UAPI)),
)


class PlantedBuilds:
    """Compiles every source once; each planted build compiles one of them again."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        glue = folder / "_dataplane.c"
        ffibuilder.emit_c_code(str(glue))
        self._objects = {source.name: self._compile(source) for source in [glue, *sources()]}
        self._built = 0

    def _compile(self, source: Path) -> Path:
        made = self._folder / f"{source.stem}.o"
        subprocess.run(["gcc", *FLAGS, "-c", str(source), "-o", str(made)], check=True)
        return made

    def tree(self, source: str, right: str, wrong: str) -> Path:
        """A folder with a package ``ftd`` whose data plane has `wrong` where `source` had `right`."""
        text = next(path for path in sources() if path.name == source).read_text()
        assert right in text, f"{source} no longer has what the test would break"
        self._built += 1
        tree = self._folder / f"tree{self._built}"
        package = tree / "ftd"
        package.mkdir(parents=True)
        for entry in (ROOT / "ftd").iterdir():
            if not entry.name.startswith("_dataplane"):
                (package / entry.name).symlink_to(entry)
        broken = self._folder / f"planted{self._built}_{source}"
        broken.write_text(text.replace(right, wrong))
        objects = {**self._objects, source: self._compile(broken)}
        library = package / f"_dataplane{sysconfig.get_config_var('EXT_SUFFIX')}"
        subprocess.run(
            ["gcc", "-shared", "-pthread", "-o", str(library), *map(str, objects.values())], check=True
        )
        return tree


def run_scenario(tree: Path | None, scenario: str, seconds: float = 100) -> subprocess.CompletedProcess[str]:
    """Runs ``scenarios.<scenario>`` in a process of its own, on the package of `tree` or the real one."""
    paths = [str(path) for path in (tree, ROOT) if path]
    code = (
        "from ftd import _dataplane\n"
        f"assert _dataplane.__file__.startswith({paths[0]!r}), _dataplane.__file__\n"
        "from tests.kvm.dataplane import pairs, scenarios\n"
        "pairs.DEADLINE_S = 15.0\n"
        f"scenarios.{scenario}\n"
    )
    return subprocess.run(
        [sys.executable, "-P", "-c", code],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
        cwd=paths[0],
        capture_output=True,
        text=True,
        timeout=seconds,
        check=False,
    )
