"""What a drill acts on: one VM on two hosts, and how to ask ftd about it."""

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, TypeVar

from ftd.errors import ControlError, ErrorKind
from ftd.protocol.control import Message, Method, WorkerStatus
from ftd.protocol.control_drill import DrillView

P = TypeVar("P", bound=Message)
R = TypeVar("R", bound=Message)


class Call(Protocol):
    """One request to the ftd of this host. Raises ControlError."""

    async def __call__(self, method: Method[P, R], params: P) -> R: ...


@dataclass(frozen=True, slots=True)
class Scene:
    """Taken before anything is done: both copies are there."""

    vm: str
    view: DrillView
    call: Call

    @property
    def here(self) -> WorkerStatus:
        """This host's copy, as it was. Raises ControlError when it gave no answer."""
        if self.view.here.status is None:
            raise ControlError(ErrorKind.WRONG_STATE, self.view.here.silence or f"no worker of VM {self.vm}")
        return self.view.here.status

    @property
    def worker_socket(self) -> Path:
        """Control socket of the worker here; root's."""
        return Path(self.view.runtime_dir) / "workers" / f"{self.vm}.sock"
