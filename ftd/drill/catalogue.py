"""The faults that a drill can inflict, what each does, and what ftd has promised to do about it."""

import enum
from dataclasses import dataclass
from typing import Final


class Survivor(enum.Enum):
    """Where the guest runs afterwards. "this host" is the one on which the drill runs."""

    PEER = "the other host"
    HERE = "this host"
    EITHER = "either host, never both"
    UNMOVED = "this host, protected all the time"


@dataclass(frozen=True, slots=True)
class Fault:
    """One kind of drill. Sentences are for operators."""

    name: str
    does: str
    survivor: Survivor
    needs: str
    """Privilege that it takes on this host, in words."""
    undo: str = ""
    """What is undone: after the takeover, or when the drill is aborted. Empty: there is nothing to undo."""
    from_standby: bool = False
    """Runs on the host that has the standby: the other one is not there to tell."""
    undone_after_hold: bool = False
    """Lasts for `--hold` seconds, not until somebody has taken over."""

    @property
    def moves_generation(self) -> bool:
        """Whether somebody has to win the next generation."""
        return self.survivor is not Survivor.UNMOVED


_SIGNAL: Final = "root, to signal the process"
_NFT: Final = "root with CAP_NET_ADMIN, and nft"

FAULTS: Final = {
    fault.name: fault
    for fault in (
        Fault("kill-worker", "SIGKILL to the worker here: the guest's process dies", Survivor.PEER, _SIGNAL),
        Fault(
            "kill-daemon",
            "SIGKILL to ftd here: the guest must not notice, and whoever supervises ftd starts it again",
            Survivor.UNMOVED,
            _SIGNAL,
        ),
        Fault(
            "freeze",
            "SIGSTOP to the worker here until the other host has taken over; then it is thawed and must be "
            "found fenced",
            Survivor.PEER,
            _SIGNAL,
            undo="thaws the worker",
        ),
        Fault(
            "cut-link",
            "drops what the two connections of this VM's pair carry, in both directions",
            Survivor.EITHER,
            _NFT,
            undo="heals the link",
        ),
        Fault(
            "one-way",
            "drops what this host sends on the two connections of this VM's pair; the other way stays open",
            Survivor.EITHER,
            _NFT,
            undo="heals the link",
        ),
        Fault(
            "corrupt-stream",
            "flips one byte of an epoch on its way: the standby must refuse it",
            Survivor.EITHER,
            "root, to reach the worker's socket",
        ),
        Fault("standby-loss", "the other host's ftd kills its standby", Survivor.HERE, "root"),
        Fault(
            "arbiter-loss",
            "this host cannot get a generation from the arbiter for a while: nothing may come of it",
            Survivor.UNMOVED,
            "root; with etcd CAP_NET_ADMIN, and nft",
            undo="lets the arbiter answer again",
            undone_after_hold=True,
        ),
        Fault("switchover", "moves the guest as `ftctl switchover` does", Survivor.PEER, "root"),
        Fault(
            "power-off",
            "the fence device turns the host of the guest off; run where the standby is",
            Survivor.HERE,
            "root, and a fence device for the other host",
            undo="has the fence device turn the host on again",
            from_standby=True,
        ),
    )
}
