"""What a host is made of."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from lab.errors import LabError
from lab.kernel.modules import Modules
from lab.kernel.stock import canonical


@dataclass(frozen=True)
class Nic:
    """A network device of a host, joined to a tap in the emulator's network namespace."""

    name: str
    """Inside; at most 15 characters."""
    tap: str
    mac: str


@dataclass(frozen=True)
class Spec:
    """A host before it is started."""

    modules: Modules
    """The kernel image, and the modules that replace its own."""
    name: str = "alpha"
    cpus: int = 2
    memory_mib: int = 1024
    parameters: tuple[str, ...] = ()
    """Module parameters as on a kernel's command line: `kvm.tdp_mmu=N`, `kvm_amd.npt=0`."""
    boot: tuple[str, ...] = ()
    """Words for the kernel's command line, such as `hugepages=64`."""
    threads: str = "single"
    """`single`: the emulated processors take turns. `multi`: at once; guests inside die at random."""
    files: Mapping[str, Path] = field(default_factory=dict)
    """Path inside (absolute) to file or folder here: copied in before the first command."""
    root: Path | None = None
    """An ext4 image to run commands in; without one there is busybox and what `files` brings."""
    lacks: tuple[str, ...] = ()
    """Features that the emulated processor does not have, by QEMU's names: `avx2`."""
    search: tuple[str, ...] = ()
    """Folders where programs are looked for first."""
    folder: str = "/"
    """Where commands are started."""
    namespace: str = ""
    """Named network namespace in which the emulator runs; else that of this process."""
    nics: tuple[Nic, ...] = ()
    more_modules: tuple[str, ...] = ()
    """More of the kernel's own modules to load, before the first command."""
    state_disk: Path | None = None
    """A raw image with an ext4 file system, kept from boot to boot: /var/lib of the root."""
    shell_socket: Path | None = None
    """Unix socket here, to be made by the emulator, that leads to a shell on a terminal of the host."""

    def __post_init__(self) -> None:
        if self.threads not in ("single", "multi"):
            raise LabError(f"threads are `single` or `multi`, not `{self.threads}`")
        if self.state_disk is not None and self.root is None:
            raise LabError(f"host {self.name} has a state disk {self.state_disk} and no root to mount it in")
        for parameter in self.parameters:
            module, dot, rest = parameter.partition(".")
            if not dot or "=" not in rest or canonical(module) not in LOADED:
                raise LabError(
                    f"`{parameter}` is no parameter of {', '.join(sorted(LOADED))}: write kvm.tdp_mmu=N"
                )

    def parameters_of(self, module: str) -> str:
        """The parameters for one module, as insmod takes them."""
        pairs = [parameter.partition(".") for parameter in self.parameters]
        return " ".join(rest for owner, _, rest in pairs if canonical(owner) == canonical(module))


LOADED: Final = frozenset({"kvm", "kvm_amd"})
"""The modules of ours that a host loads: its processor is an AMD one."""
