"""The package definition for DKMS, with the real dkms, against Debian's headers alone."""

import subprocess
from pathlib import Path
from typing import Final

import pytest

from lab.commands import run
from lab.debian import packages
from lab.host.spec import Spec
from lab.kernel import tree
from lab.kernel.modules import NAMES, Modules
from lab.kernel.series import PATCHES
from lab.run import run_on_host
from tests.lab.headers import lay_out

pytestmark = [pytest.mark.lab, pytest.mark.timeout(600)]
MAKE_TREE: Final = PATCHES / "dkms" / "make-tree.sh"


async def test_dkms_builds_modules_that_load(modules: Modules, tmp_path: Path) -> None:
    image = modules.image
    packages.require(["dkms"], why="building with DKMS")
    version = image.release.partition("+")[0]
    source = tmp_path / "source" / f"ftd-kvm-{version}"
    source.parent.mkdir()
    run([MAKE_TREE, source, tree.archive(image)], what="making the tree for dkms")
    folders = {"tree": tmp_path / "dkms", "source": source.parent, "install": tmp_path / "installed"}
    for folder in folders.values():
        folder.mkdir(exist_ok=True)
    headers = lay_out(image, tmp_path)
    options = [f"--{name}tree={folder}" for name, folder in folders.items() if name != "tree"]
    options += [f"--dkmstree={folders['tree']}", f"--kernelsourcedir={headers}", "-k", image.release]

    for step in ("add", "build"):
        run(["dkms", step, f"ftd-kvm/{version}", *options, "--no-depmod"], what=f"dkms {step}")

    (built,) = folders["tree"].glob(f"ftd-kvm/{version}/{image.release}/*/module")
    found = _plain(built, tmp_path / "modules")
    spec = Spec(modules=Modules(image, found), cpus=1, memory_mib=512)
    outcome = await run_on_host(spec, "test -c /dev/kvm && grep -c ' kvm_mt_.*kvm' /proc/kallsyms")
    assert outcome.ok, (outcome.trouble, outcome.command.output)


def _plain(built: Path, into: Path) -> Path:
    """The modules without the compression that the kernel's configuration asks for."""
    into.mkdir()
    for name in NAMES:
        (path,) = built.glob(f"{name}.ko*")
        (into / path.name).write_bytes(path.read_bytes())
        if path.suffix == ".xz":
            subprocess.run(["xz", "--decompress", into / path.name], check=True)
    return into
