"""At most one change of a VM at a time. A second is refused, not queued: it would act on old knowledge."""

from collections.abc import Iterator
from contextlib import contextmanager

import trio

from ftd.errors import ControlError, ErrorKind


class BusyVms:
    """Which VMs are being changed, and by what. Shared by operators' and peers' requests."""

    def __init__(self) -> None:
        self._doing: dict[str, str] = {}
        self._waiting = trio.lowlevel.ParkingLot()

    def is_busy(self, vm: str) -> bool:
        """Whether something is being done to the VM."""
        return vm in self._doing

    @contextmanager
    def doing(self, vm: str, what: str) -> Iterator[None]:
        """Raises ControlError(WRONG_STATE) when something else is being done to the VM."""
        if vm in self._doing:
            message = f"{self._doing[vm]} of VM {vm} is under way here; {what} was not begun"
            raise ControlError(ErrorKind.WRONG_STATE, message)
        self._doing[vm] = what
        try:
            yield
        finally:
            del self._doing[vm]
            self._waiting.unpark_all()

    async def until_idle(self, vm: str) -> None:
        """Returns when nothing is being done to the VM. For what no operator asked for."""
        while vm in self._doing:
            await self._waiting.park()
