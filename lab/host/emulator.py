"""The emulator's process. It leaves no files: what it is given and what it writes are in memory."""

import os
import re
import shutil
import signal
import socket
import subprocess
from dataclasses import dataclass
from typing import Final

from lab.debian import backports, packages
from lab.errors import LabError, MissingError
from lab.host.spec import Spec

PROGRAM: Final = "qemu-system-x86_64"
PACKAGE: Final = "qemu-system-x86"
MAJOR_MIN: Final = 10
"""7.2 corrupts flags around cmpxchg16b: guest kernels crash at random."""
COMMAND_LINE: Final = (
    "console=ttyS0 rdinit=/init panic=-1 oops=panic mitigations=off random.trust_cpu=on "
    # The emulated clock runs on while the machine is busy with other things.
    "tsc=reliable watchdog_thresh=60"
)


@dataclass(eq=False)
class Emulator:
    """A running emulator. `control` carries commands and their output; the memory files grow as it writes."""

    process: subprocess.Popen[bytes]
    control: socket.socket
    console_fd: int
    files_fd: int

    def kill(self) -> None:
        """A power cut. Harmless when it was done before."""
        self.process.kill()
        self.process.wait()

    def freeze(self) -> None:
        """Everything in the host stands still, and for it no time passes on its processors."""
        self.process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Ends `freeze`."""
        self.process.send_signal(signal.SIGCONT)

    def close(self) -> None:
        """Kills it and gives everything back."""
        self.kill()
        self.control.close()
        os.close(self.console_fd)
        os.close(self.files_fd)


def require() -> None:
    """Installs an emulator that can be trusted. Raises MissingError where that cannot be."""
    if _major() < MAJOR_MIN:
        # By the suite's name: apt itself would prefer Debian 12's own, which is too old.
        suite = "bookworm-backports" if backports.codename() == "bookworm" else None
        if suite and backports.add():
            packages.update()
        packages.install([PACKAGE], why="a host of the lab", suite=suite)
    if _major() < MAJOR_MIN:
        raise MissingError(
            f"a host of the lab needs {PACKAGE} {MAJOR_MIN} or later, and {PROGRAM} is of {_major()}: "
            "emulators before that corrupt guests"
        )


def start(spec: Spec, initramfs: bytes) -> Emulator:
    """Starts the emulator; it dies with the thread that calls this. Raises LabError."""
    ours, theirs = socket.socketpair()
    given = os.memfd_create("initramfs")
    console, files = os.memfd_create("console"), os.memfd_create("files")
    with os.fdopen(os.dup(given), "wb") as file:
        file.write(initramfs)
    inherited = (theirs.fileno(), given, console, files)
    entered = ["nsenter", f"--net=/run/netns/{spec.namespace}", "--"] if spec.namespace else []
    command = ["setpriv", "--pdeathsig", "KILL", *entered, PROGRAM, *_arguments(spec, *inherited)]
    try:
        # In a session of its own: who interrupts the lab from a terminal does not mean the emulator.
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, pass_fds=inherited, start_new_session=True
        )
    except OSError as error:
        raise LabError(f"the emulator of host {spec.name} did not start: {error}") from error
    finally:
        theirs.close()
        os.close(given)
    return Emulator(process, ours, console, files)


def _arguments(spec: Spec, control: int, initramfs: int, console: int, files: int) -> list[str]:
    arguments = [
        *("-name", spec.name, "-nodefaults", "-no-user-config", "-no-reboot", "-display", "none"),
        *("-machine", "q35,usb=off", "-accel", f"tcg,thread={spec.threads}"),
        *("-cpu", ",".join(["max,+svm", *(f"-{feature}" for feature in spec.lacks)])),
        *("-smp", str(spec.cpus), "-m", f"{spec.memory_mib}M"),
        *("-kernel", str(spec.modules.image.vmlinuz), "-initrd", f"/proc/self/fd/{initramfs}"),
        *("-append", " ".join([COMMAND_LINE, *spec.boot])),
        *("-chardev", f"file,id=console,path=/proc/self/fd/{console}", "-serial", "chardev:console"),
        *("-device", "virtio-serial-pci", "-chardev", f"socket,id=control,fd={control}"),
        *("-device", "virtserialport,chardev=control,name=control"),
        *("-chardev", f"file,id=files,path=/proc/self/fd/{files}"),
        *("-device", "virtserialport,chardev=files,name=files"),
        *("-object", "rng-random,id=entropy,filename=/dev/urandom", "-device", "virtio-rng-pci,rng=entropy"),
    ]
    if spec.root is not None:
        arguments += ["-drive", f"file={spec.root},format=raw,if=none,id=root,readonly=on,cache=unsafe"]
        arguments += ["-device", "virtio-blk-pci,drive=root"]
    if spec.state_disk is not None:
        # What the host has written survives its power cut, flushed or not: it is in our page cache.
        arguments += ["-drive", f"file={spec.state_disk},format=raw,if=none,id=state,cache=writeback"]
        arguments += ["-device", "virtio-blk-pci,drive=state"]
    if spec.shell_socket is not None:
        arguments += ["-chardev", f"socket,id=shell,path={spec.shell_socket},server=on,wait=off"]
        arguments += ["-device", "virtconsole,chardev=shell,name=shell"]
    for nic in spec.nics:
        arguments += ["-netdev", f"tap,id={nic.name},ifname={nic.tap},script=no,downscript=no"]
        # Without its ROM, which would only look for something to boot from.
        arguments += ["-device", f"virtio-net-pci,netdev={nic.name},mac={nic.mac},romfile="]
    return arguments


def _major() -> int:
    if shutil.which(PROGRAM) is None:
        return 0
    done = subprocess.run([PROGRAM, "--version"], capture_output=True, text=True, check=False)
    found = re.search(r"version (\d+)\.", done.stdout)
    return int(found[1]) if found else 0
