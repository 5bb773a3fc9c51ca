"""The modules that come with a kernel image, and what each of them depends on."""

import lzma
from pathlib import Path

from lab.errors import LabError


class Stock:
    """The modules of a folder with a modules.dep."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._paths: dict[str, Path] = {}
        self._depends: dict[str, list[str]] = {}
        for line in _dependencies(folder).splitlines():
            path, _, rest = line.partition(":")
            name = _name(path)
            self._paths[name] = folder / path
            self._depends[name] = [_name(other) for other in rest.split()]
        self._builtin = {_name(line) for line in (folder / "modules.builtin").read_text().split()}

    def needs(self, name: str) -> list[str]:
        """The module after all that it depends on; nothing for what is built into the kernel."""
        if name in self._builtin:
            return []
        if name not in self._depends:
            raise LabError(f"{self._folder} has no module {name}: is the kernel's package complete?")
        order: list[str] = []
        for other in self._depends[name]:
            order += [needed for needed in self.needs(other) if needed not in order]
        return [*order, name]

    def read(self, name: str) -> bytes:
        """The module as insmod takes it."""
        data = self._paths[name].read_bytes()
        return lzma.decompress(data) if self._paths[name].suffix == ".xz" else data


def canonical(module: str) -> str:
    """A module's name as the kernel shows it: `kvm-amd` and `kvm_amd` are one."""
    return module.replace("-", "_")


def _name(path: str) -> str:
    return canonical(path.rpartition("/")[2].partition(".")[0])


def _dependencies(folder: Path) -> str:
    listed = folder / "modules.dep"
    if not listed.exists():
        raise LabError(f"there is no {listed}: `depmod` makes it")
    return listed.read_text()
