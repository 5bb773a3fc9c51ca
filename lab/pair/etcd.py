"""The arbiter of a pair: one etcd of the party outside, on the management network."""

import subprocess
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


class Arbiter:
    """The process; it dies with the one that started it. Its files lie in `folder`."""

    def __init__(self, networks: Networks, folder: Path) -> None:
        """Raises MissingError where etcd cannot be had."""
        self._networks = networks
        self._log = folder / "etcd.log"
        self._process = _start(etcd.find(), networks.namespace, folder, self._log)

    async def wait_ready(self) -> None:
        """Returns when it answers. Raises LabError, with the end of its log, when it does not."""
        with trio.move_on_after(READY_DEADLINE_S):
            while self._process.poll() is None:
                try:
                    stream = await self._networks.connect(MANAGEMENT.address("outside"), PORT)
                except OSError:
                    await trio.sleep(_POLL_S)
                else:
                    await stream.aclose()
                    return
        log = self._log.read_text()[-_LOG_CHARACTERS:]
        raise LabError(f"the arbiter's etcd did not start; its log ends:\n{log}")

    def close(self) -> None:
        """Ends it."""
        self._process.kill()
        self._process.wait()


def _start(program: Path, namespace: str, folder: Path, log: Path) -> subprocess.Popen[bytes]:
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
            [*entered, str(program), *words],
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=file,
            start_new_session=True,
        )
