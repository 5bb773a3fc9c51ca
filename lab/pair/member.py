"""One host of a pair: booted to a running ftd, asked, hurt, booted again."""

from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final, TypeVar

import trio

from ftd.errors import ControlError
from ftd.protocol.control import Message, Method, WorkerStatus
from ftd.protocol.control_operator import STATUS, StatusParams
from ftd.transport.client import ControlConnection
from ftd.transport.framing import TransportError, TransportFailure
from lab.errors import LabError
from lab.host.host import Finished, Host, HostError, start
from lab.host.kernel_log import trouble_in
from lab.host.spec import Spec
from lab.pair.network import CLIENT, HOSTS, QUESTIONS, Network, Networks

P = TypeVar("P", bound=Message)
R = TypeVar("R", bound=Message)

START: Final = Path(__file__).with_name("start.sh")
INSIDE: Final = "/lab-start.sh"
CALL_PORT: Final = 7700
BOOT_DEADLINE_S: Final = 240.0
STATUS_DEADLINE_S: Final = 5.0
LOG_LINES: Final = 60
LOGS: Final = f"tail -n {LOG_LINES} /var/log/ftd.log /run/ftd/workers/*.log"


class Member:
    """A host of a pair. `host` is there from its first boot on, dead or alive."""

    def __init__(self, spec: Spec, networks: Networks) -> None:
        self.name = spec.name
        self.host: Host | None = None
        self._spec = spec
        self._networks = networks
        self._alive = False
        self._frozen = False
        self._past_logs: list[str] = []

    @property
    def state(self) -> str:
        """`up`, `frozen` or `dead`."""
        return ("frozen" if self._frozen else "up") if self._alive else "dead"

    async def boot(self) -> None:
        """From power on to a running ftd. Raises HostError, with the end of ftd's log where that failed."""
        self.close()
        self.host = await start(self._spec)
        self._alive = True
        number = HOSTS.index(self.name) + 1
        started = await self.host.run(f"sh {INSIDE} {number}", timeout_s=BOOT_DEADLINE_S)
        if started.status != 0:
            log = started.output.decode(errors="replace")
            raise HostError(f"ftd did not start on {self.name} (status {started.status}):\n{log}")

    def kill(self) -> None:
        """Power loss."""
        self._alive = self._frozen = False
        self._running().kill()

    def freeze(self) -> None:
        """All of it stands still, until `thaw`. Its clocks go on."""
        self._running().freeze()
        self._frozen = True

    def thaw(self) -> None:
        """Ends `freeze`."""
        self._running().thaw()
        self._frozen = False

    async def slow(self, network: Network, netem: str) -> None:
        """What the host sends there is delayed, lost and so on: words of tc-netem(8); none ends it.

        Raises LabError for words that tc refuses.
        """
        device = "client0" if network is CLIENT else network.name
        undo = f"tc qdisc delete dev {device} root 2>/dev/null"
        done = await self.run(
            f"{undo}; tc qdisc add dev {device} root netem {netem}" if netem else f"{undo}; :"
        )
        if done.status != 0:
            raise LabError(f"{self.name}: netem {netem}: {done.output.decode(errors='replace')}")

    def close(self) -> None:
        """Power loss, and what it held here is given back; the kernel's log is kept."""
        if self.host is not None:
            self._past_logs.append(self.host.kernel_log)
            self.host.close()
        self.host = None
        self._alive = self._frozen = False

    async def run(
        self,
        command: str | Sequence[str],
        *,
        timeout_s: float = 60,
        on_output: Callable[[bytes], object] | None = None,
    ) -> Finished:
        """As `Host.run`."""
        return await self._running().run(command, timeout_s=timeout_s, on_output=on_output)

    async def take(self, paths: Sequence[str], into: Path) -> None:
        """As `Host.take`."""
        await self._running().take(paths, into)

    async def call(self, method: Method[P, R], params: P, *, deadline_s: float | None = None) -> R:
        """One request to this host's ftd, as ftctl would make it. Raises ControlError, TransportError."""
        try:
            stream = await self._networks.connect(QUESTIONS.address(self.name), CALL_PORT)
        except OSError as error:
            raise TransportError(TransportFailure.ABSENT, f"{self.name}: {error}") from error
        async with stream:
            return await ControlConnection(stream).call(method, params, deadline_s=deadline_s)

    async def status(self, vm: str, *, deadline_s: float = STATUS_DEADLINE_S) -> WorkerStatus | None:
        """What a VM's worker says of itself; None: nobody answered that has one."""
        with suppress(ControlError, TransportError), trio.move_on_after(deadline_s):
            report = await self.call(STATUS, StatusParams())
            return next((worker for worker in report.workers if worker.vm == vm), None)
        return None

    async def logs(self) -> str:
        """The ends of ftd's and its workers' logs, and the kernel's complaints, for a person."""
        texts = [f"---- {self.name}: {self.state}"]
        if self.state == "up":
            with suppress(HostError):
                texts.append((await self.run(LOGS, timeout_s=20)).output.decode(errors="replace"))
        return "\n".join([*texts, *(f"kernel: {line}" for line in self.trouble)])

    @property
    def kernel_log(self) -> str:
        """Of all its boots."""
        return "".join([*self._past_logs, self.host.kernel_log if self.host is not None else ""])

    @property
    def trouble(self) -> list[str]:
        """The lines of the kernel's log that say that the kernel is not well."""
        return trouble_in(self.kernel_log)

    def _running(self) -> Host:
        if self.host is None:
            raise HostError(f"{self.name} has not been booted")
        return self.host
