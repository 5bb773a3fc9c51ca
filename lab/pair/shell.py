"""A terminal on a host of a pair, from this terminal."""

import os
import select
import shutil
import socket
import sys
import termios
import tty
from pathlib import Path
from typing import Final

from lab.errors import LabError
from lab.pair import folder

LEAVE: Final = b"\x1d"
HOW_TO_LEAVE: Final = "Ctrl-] leaves this terminal; what runs there goes on"
_CHUNK_BYTES: Final = 65536


def find(host: str, pair: str | None) -> Path:
    """The socket of a host's terminal; `pair` may be left out where one is running.

    Raises LabError when there is no such host, or a choice.
    """
    running = {path.name: path for path in folder.living()}
    if not running:
        raise LabError("no pair of hosts is running here: start one with `make lab`")
    if pair is None and len(running) > 1:
        raise LabError(f"several pairs of hosts are running: say --pair and one of {' '.join(running)}")
    chosen = running.get(pair) if pair is not None else next(iter(running.values()))
    if chosen is None:
        raise LabError(f"there is no pair {pair}: {' '.join(running)} are running")
    path = chosen / f"{host}.shell"
    if not path.exists():
        raise LabError(f"host {host} of {chosen.name} has not been booted")
    return path


def talk(path: Path) -> None:
    """Joins this terminal to the one behind `path`, until Ctrl-] or the host's death. Raises LabError."""
    if not sys.stdin.isatty():
        raise LabError("a shell needs a terminal; at the lab's prompt `alpha COMMAND` needs none")
    with socket.socket(socket.AF_UNIX) as host:
        try:
            host.connect(str(path))
        except OSError as error:
            raise LabError(f"the host's terminal {path} cannot be reached: {error.strerror}") from error
        size = shutil.get_terminal_size()
        host.sendall(f"stty rows {size.lines} columns {size.columns}\n".encode())
        before = termios.tcgetattr(sys.stdin)
        try:
            tty.setraw(sys.stdin)
            _copy(host)
        finally:
            termios.tcsetattr(sys.stdin, termios.TCSADRAIN, before)
    print("\nlab: left the host's terminal")


def _copy(host: socket.socket) -> None:
    keyboard, screen = sys.stdin.fileno(), sys.stdout.fileno()
    while True:
        readable, _, _ = select.select([keyboard, host], [], [])
        if keyboard in readable:
            typed = os.read(keyboard, _CHUNK_BYTES)
            before, leave, _ = typed.partition(LEAVE)
            host.sendall(before)
            if leave or not typed:
                return
        if host in readable:
            shown = host.recv(_CHUNK_BYTES)
            if not shown:
                return
            os.write(screen, shown)
