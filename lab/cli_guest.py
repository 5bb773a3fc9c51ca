"""`python -m lab guest`: the lab's guest, to look at it, or its files, to boot it elsewhere."""

import os
import tempfile
from pathlib import Path

import click

from lab.guest import disk as disks
from lab.guest import image, plain
from lab.host import emulator


@click.command()
@click.option("--files", is_flag=True, help="Only make kernel, initrd and disk, and tell where they are.")
@click.option("--kernel", "release", metavar="RELEASE", help="e.g. 6.12.43+deb12-cloud-amd64")
@click.option(
    "--disk", "disk", type=click.Path(path_type=Path), help="Keep the disk here; made if it is not there."
)
def guest(files: bool, release: str | None, disk: Path | None) -> None:
    """Boot the lab's guest under plain QEMU, with its console on this terminal; log in as root.

    `poweroff` inside ends it, and so does Ctrl-A X.
    """
    built = image.build(release)
    if files:
        click.echo(f"kernel {built.kernel}\ninitrd {built.initrd}\ndisk {built.disk}")
        return
    emulator.require()
    with tempfile.TemporaryDirectory(prefix="ftd-guest-") as folder:
        used = disk or Path(folder) / "disk.ext4"
        if not used.exists():
            disks.copy(used)
        words = [*plain.arguments(built, used), "-serial", "mon:stdio"]
        os.spawnvp(os.P_WAIT, words[0], words)
