"""The arbiter of a pair: one etcd of the party outside, on the management network."""

import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

import trio

from lab.debian import etcd
from lab.errors import LabError
from lab.pair.network import MANAGEMENT, Networks

PORT: Final = 2379
READY_DEADLINE_S: Final = 30.0
_POLL_S: Final = 0.05
_LOG_CHARACTERS: Final = 2000


def endpoint() -> str:
    """Where the hosts find it."""
    return f"{MANAGEMENT.address('outside')}:{PORT}"


@asynccontextmanager
async def running(networks: Networks, folder: Path) -> AsyncIterator[None]:
    """It answers, and ends with the block, or with the process that started it. Its files lie in `folder`.

    Raises MissingError where it cannot be had, LabError when it does not start.
    """
    program = await trio.to_thread.run_sync(etcd.find)
    log = folder / "etcd.log"
    process = _start(program, networks.namespace, folder, log)
    try:
        await _answers(networks, process, log)
        yield
    finally:
        process.kill()
        process.wait()


def _start(program: Path, namespace: str, folder: Path, log: Path) -> subprocess.Popen[bytes]:
    """Not in a thread of trio's: the process would die with that."""
    client, peer = f"http://{endpoint()}", "http://127.0.0.1:2380"
    entered = ["setpriv", "--pdeathsig", "KILL", "nsenter", f"--net=/run/netns/{namespace}", "--"]
    options = {
        "--name": "outside",
        "--data-dir": str(folder / "etcd"),
        "--logger": "zap",
        "--log-level": "warn",
        "--listen-client-urls": client,
        "--advertise-client-urls": client,
        "--listen-peer-urls": peer,
        "--initial-advertise-peer-urls": peer,
        "--initial-cluster": f"outside={peer}",
    }
    words = [word for option in options.items() for word in option]
    with log.open("wb") as file:
        return subprocess.Popen(
            [*entered, str(program), *words], stdin=subprocess.DEVNULL, stdout=file, stderr=file
        )


async def _answers(networks: Networks, process: subprocess.Popen[bytes], log: Path) -> None:
    with trio.move_on_after(READY_DEADLINE_S):
        while process.poll() is None:
            try:
                stream = await networks.connect(MANAGEMENT.address("outside"), PORT)
            except OSError:
                await trio.sleep(_POLL_S)
            else:
                await stream.aclose()
                return
    raise LabError(f"the arbiter's etcd did not start; its log ends:\n{log.read_text()[-_LOG_CHARACTERS:]}")
