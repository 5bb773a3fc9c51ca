"""What a daemon does where there is no arbiter: asks the other host before a guest is started, takes an
operator's word for its being off, and says at start who decides."""

import trio

from ftd.arbiter.fencing.proof import Proof, now_ns
from ftd.busy import BusyVms
from ftd.config import Config
from ftd.errors import ControlError, ErrorKind
from ftd.log import get_logger
from ftd.peers import Peer
from ftd.protocol.control import Nothing
from ftd.protocol.control_operator import ConfirmOffParams
from ftd.protocol.control_peer import CopyReport, HasCopyParams
from ftd.vm_states import ENDED_STATES
from ftd.worker_process import WorkerGone
from ftd.workers import Workers

log = get_logger(__name__)


class NoArbiter:
    """Of one daemon, whether or not it has an arbiter."""

    def __init__(self, config: Config, workers: Workers, busy: BusyVms) -> None:
        self._config = config
        self._workers = workers
        self._busy = busy

    @property
    def applies(self) -> bool:
        """There is none."""
        return self._config.arbiter.kind == "none"

    def announce(self) -> None:
        """Says who decides, and what is configured without effect."""
        if not self.applies:
            for host in self._config.fences:
                log.info("the arbiter decides who goes on: fence is not used for that", host=host)
            return
        for host in self._config.peers:
            if self._config.arbiter.unattended_failover:
                who = f"whoever turns the other off: {self._config.fences[host].command}"
            else:
                who = f"an operator, with `ftctl confirm-off {host}`"
            log.warning("there is no arbiter", when_the_peer_is_lost=host, decides=who)
        self._config.fencing_dir.mkdir(mode=0o700, parents=True, exist_ok=True)

    async def check_start(self, vm: str) -> None:
        """Raises ControlError unless the other host says that it has nothing of the VM."""
        if not self.applies:
            return
        here = self._config.host.name
        for name, address in self._config.peers.items():
            try:
                report = await Peer(here, name, address).has_copy(HasCopyParams(vm=vm))
            except ControlError as error:
                raise ControlError(
                    ErrorKind.REFUSED,
                    f"there is no arbiter, and whether {name} runs VM {vm} cannot be found out: "
                    f"{error.message}. If {name} is surely off, start it with --force",
                ) from error
            if report.state is not None:
                message = f"there is no arbiter, and host {name} has a copy of VM {vm} ({report.state})"
                raise ControlError(ErrorKind.REFUSED, f"{message}. Use it there, or end it there first")

    async def has_copy(self, params: HasCopyParams) -> CopyReport:
        """Asked by the other host."""
        if self._busy.is_busy(params.vm):
            return CopyReport(state="something is being done to it")
        worker = self._workers.get(params.vm)
        if worker is None:
            return CopyReport(state=None)
        try:
            state = (await worker.status()).state
        except WorkerGone:
            return CopyReport(state=None)
        except ControlError:
            return CopyReport(state="unresponsive")
        return CopyReport(state=None if state in ENDED_STATES else state)

    async def confirm_off(self, params: ConfirmOffParams) -> Nothing:
        """An operator has made sure that the other host is off."""
        if not self.applies:
            message = "the arbiter decides who goes on, an operator's word counts in `ftctl failover --force`"
            raise ControlError(ErrorKind.CONFIG, message)
        if params.host not in self._config.peers:
            known = ", ".join(sorted(self._config.peers))
            raise ControlError(ErrorKind.CONFIG, f"no host {params.host} in [peers] (there are: {known})")
        proof = Proof(self._config.fencing_dir, params.host)
        try:
            await trio.to_thread.run_sync(proof.write, now_ns())
        except OSError as error:
            message = f"cannot record in {proof.path} that {params.host} is off: {error.strerror}"
            raise ControlError(ErrorKind.INTERNAL, f"{message}. Mend host.state_dir") from error
        log.warning("an operator says that a host is off", host=params.host)
        return Nothing()
