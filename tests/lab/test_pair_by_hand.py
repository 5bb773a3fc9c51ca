"""`python -m lab pair` as a person has it: a prompt, a terminal on a host, and nothing left behind."""

from __future__ import annotations

import os
import pty
import select
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from time import monotonic
from typing import IO, Final

import pytest

from lab.errors import MissingError
from lab.kernel.modules import Modules
from lab.kernel.series import ROOT
from lab.pair import folder
from lab.pair.network import MANAGEMENT, Networks

pytestmark = [pytest.mark.lab, pytest.mark.timeout(600)]
LAB: Final = (sys.executable, "-m", "lab")
TYPED_DEADLINE_S: Final = 60.0
ASK: Final = "bash -c 'exec 3<>/dev/tcp/10.0.1.1/7000; echo; echo ? >&3; head -n 1 <&3'"
OWNER: Final = """
import time
from lab.pair import folder
from lab.pair.network import Networks
with folder.owned() as place:
    Networks(place.name).make()
    print(place.name, flush=True)
    time.sleep(600)
"""


def test_what_a_dead_owner_left_is_swept() -> None:
    """A living one's namespace is left alone."""
    if os.geteuid() != 0:
        pytest.skip("network namespaces are made by root only")
    with _owner() as (dead, dead_name), _owner() as (_, living_name):
        dead.kill()
        dead.wait()
        assert (folder.NAMESPACES / dead_name).exists()
        with folder.owned() as place:
            assert not (folder.BASE / dead_name).exists()
            assert not (folder.NAMESPACES / dead_name).exists()
            assert (folder.NAMESPACES / living_name).exists()
            assert living_name in [path.name for path in folder.living()]
        assert not place.exists()


@contextmanager
def _owner() -> Iterator[tuple[subprocess.Popen[str], str]]:
    owner = subprocess.Popen(
        [sys.executable, "-c", OWNER], stdout=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True, cwd=ROOT
    )
    assert owner.stdout is not None
    try:
        yield owner, owner.stdout.readline().strip()
    finally:
        owner.kill()
        owner.stdout.close()
        owner.wait()
        with folder.owned():
            """Sweeps what it left."""


async def test_the_party_outside_is_in_its_namespace_alone() -> None:
    """A connection made there reaches what listens there, and this process is where it was."""
    try:
        with folder.owned() as place:
            networks = Networks(place.name)
            networks.make()
            here = os.readlink("/proc/thread-self/ns/net")
            with pytest.raises(ConnectionRefusedError):
                await networks.connect(MANAGEMENT.address("outside"), 1)
            assert os.readlink("/proc/thread-self/ns/net") == here
    except MissingError as error:
        pytest.skip(str(error))


def test_a_prompt_and_a_terminal(modules: Modules) -> None:
    lab = subprocess.Popen(
        [*LAB, "pair"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, cwd=ROOT
    )
    assert lab.stdin is not None
    assert lab.stdout is not None
    try:
        _read_until(lab.stdout, b"end the lab")
        [place] = [path for path in folder.living() if path.name.startswith(f"{folder.PREFIX}{lab.pid}-")]
        _say(
            lab.stdin,
            "alpha ftctl vm start ledger",
            f"outside {ASK}",
        )
        _read_until(lab.stdout, b"L 0 0000000000000000")
        _on_a_terminal(place.name)
        _say(
            lab.stdin,
            "freeze beta",
            "cut repl alpha from",
            "status",
            "heal",
            "nonsense",
            "slow repl alpha loss x",
        )
        shown = _read_until(lab.stdout, b"netem loss x")
        for told in ("alpha: up", "ledger", "beta: frozen", "cut: repl from alpha", "no command nonsense"):
            assert told.encode() in shown, told
        _say(lab.stdin, "quit")
        assert lab.wait(TYPED_DEADLINE_S) == 1, "some of these commands failed"
        assert not place.exists()
        assert not (folder.NAMESPACES / place.name).exists()
    finally:
        lab.send_signal(signal.SIGKILL)
        lab.wait()
        lab.stdin.close()
        lab.stdout.close()


def _say(stdin: IO[bytes], *lines: str) -> None:
    stdin.write("".join(f"{line}\n" for line in lines).encode())
    stdin.flush()


def _read_until(stdout: IO[bytes], text: bytes) -> bytes:
    """What came up to a line with this text, or to the end, which is a failure."""
    seen = b""
    for line in stdout:
        seen += line
        if text in line:
            return seen
    raise AssertionError(f"no {text!r} in {seen.decode(errors='replace')}")


def _on_a_terminal(pair: str) -> None:
    """Types on alpha's terminal; an answer that was not typed comes back, and Ctrl-] leaves."""
    terminal, inner = pty.openpty()
    command = [*LAB, "shell", "--pair", pair, "alpha"]
    shell = subprocess.Popen(command, stdin=inner, stdout=inner, stderr=inner, cwd=ROOT)
    os.close(inner)
    try:
        _expect(terminal, b"# ")
        os.write(terminal, b"echo $(hostname)-$((6 * 7)); tty\r")
        _expect(terminal, b"alpha-42")
        _expect(terminal, b"/dev/hvc0")
        os.write(terminal, b"\x1d")
        assert shell.wait(TYPED_DEADLINE_S) == 0
    finally:
        shell.kill()
        shell.wait()
        os.close(terminal)


def _expect(terminal: int, text: bytes) -> None:
    seen, until = b"", monotonic() + TYPED_DEADLINE_S
    while text not in seen:
        ready, _, _ = select.select([terminal], [], [], max(0.0, until - monotonic()))
        assert ready, f"no {text!r} in {seen!r}"
        seen += os.read(terminal, 4096)
