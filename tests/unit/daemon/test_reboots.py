"""A guest that asked for a reboot runs again."""

from __future__ import annotations

import pytest
import trio
import trio.testing

from ftd import reboots
from ftd.busy import BusyVms
from ftd.errors import ControlError, ErrorKind
from ftd.protocol.control_operator import ForceParams


class FakeOperations:
    """Notes what was asked."""

    def __init__(self, refuses: bool = False) -> None:
        self.asked: list[str] = []
        self._refuses = refuses

    async def vm_start(self, params: ForceParams) -> None:
        self.asked.append(f"start {params.vm} force={params.force}")
        if self._refuses:
            raise ControlError(ErrorKind.ARBITER, "no")


@pytest.mark.parametrize("refuses", [False, True])
async def test_started_once_and_never_by_force(refuses: bool) -> None:
    operations = FakeOperations(refuses)
    await reboots.start_again(operations, BusyVms(), "web")  # type: ignore[arg-type]
    assert operations.asked == ["start web force=False"]


async def test_waits_for_the_request_that_the_reboot_ended() -> None:
    operations, busy = FakeOperations(), BusyVms()
    async with trio.open_nursery() as nursery:
        with busy.doing("web", "enter"):
            nursery.start_soon(reboots.start_again, operations, busy, "web")  # type: ignore[arg-type]
            await trio.testing.wait_all_tasks_blocked()
            assert operations.asked == []
    assert operations.asked == ["start web force=False"]
