"""What the model world is made of: messages, a link, an arbiter, and copies with a data plane each."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

from ftd.replication import actions as act
from ftd.replication import events as ev
from ftd.replication.active import ActiveCore
from ftd.replication.epochs import EpochAccount, OutputGate
from ftd.replication.standby import StandbyCore
from ftd.replication.states import Output

VM = "ledger"
Move = tuple[str, Callable[[], None]]
Item = int


class PromiseBroken(Exception):
    """A checker saw what must never be."""


@dataclass(frozen=True)
class Message:
    """A frame on the data connection."""

    kind: str
    epoch: int = 0
    image: tuple[Item, ...] = ()


class Link:
    """A data connection. Cut, it loses what was in flight; what a receiver's socket holds stays readable."""

    def __init__(self) -> None:
        self.to_standby: deque[Message] = deque()
        self.to_active: deque[Message] = deque()
        self.open = True

    def cut(self, kept: int) -> None:
        """Of each direction only the first ``kept`` messages had arrived."""
        if not self.open:
            return
        self.open = False
        for queue in (self.to_standby, self.to_active):
            while len(queue) > kept:
                queue.pop()


@dataclass
class ModelArbiter:
    """Compare-and-swap on one record."""

    generation: int = 1
    holder: str = "alpha"
    claim_id: bytes = b""

    def claim(self, ask: act.AskArbiter, holder: str) -> ev.ArbiterAnswer:
        if ask.claim_id == self.claim_id:
            return ev.ClaimWon(self.generation)
        if ask.expected_generation != self.generation:
            return ev.ClaimLost(self.generation, self.holder)
        self.generation, self.holder, self.claim_id = ask.expected_generation + 1, holder, ask.claim_id
        return ev.ClaimWon(self.generation)


@dataclass
class Copy:
    """One copy of the VM on one host: a core and its data plane."""

    host: str
    core: ActiveCore | StandbyCore
    history: tuple[Item, ...] = ()
    running: bool = False
    output: Output = Output.NONE
    link: Link | None = None
    syncing: bool = False
    account: EpochAccount = field(default_factory=lambda: EpochAccount(3))
    gate: OutputGate[Item] = field(default_factory=OutputGate)
    sealed: deque[Message] = field(default_factory=deque)
    final_seal_due: bool = False
    draining: bool = False
    epoch: int = 0
    image: tuple[Item, ...] = ()
    acknowledges: bool = True
    inbox: deque[ev.Event] = field(default_factory=deque)
    ask: act.AskArbiter | None = None
    claim_ids: list[bytes] = field(default_factory=list)
    probing: bool = False
    lost_peer: bool = False
    frozen: bool = False
    ended: bool = False

    @property
    def is_active(self) -> bool:
        return isinstance(self.core, ActiveCore)

    @property
    def incoming(self) -> deque[Message]:
        assert self.link is not None
        return self.link.to_active if self.is_active else self.link.to_standby

    def send(self, message: Message) -> None:
        if self.link is not None and self.link.open and not self.lost_peer:
            (self.link.to_standby if self.is_active else self.link.to_active).append(message)
