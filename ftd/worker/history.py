"""What happened to this copy lately, with the times: what a drill, or an operator, reads a failover from."""

from __future__ import annotations

import time
from collections import deque

from ftd.limits import HISTORY_ENTRIES_MAX
from ftd.protocol.control import StateChange
from ftd.replication.states import ActiveState, StandbyState


class History:
    """The newest entries; older ones are forgotten."""

    def __init__(self) -> None:
        self._entries: deque[StateChange] = deque(maxlen=HISTORY_ENTRIES_MAX)

    def changed(self, on: str, before: ActiveState | StandbyState, after: ActiveState | StandbyState) -> None:
        """Now, an event changed the state."""
        self._entries.append(
            StateChange(
                on=on,
                before=before.value,
                after=after.value,
                realtime_ns=time.clock_gettime_ns(time.CLOCK_REALTIME),
                boottime_ns=time.clock_gettime_ns(time.CLOCK_BOOTTIME),
            )
        )

    def passed(self, step: str, state: ActiveState | StandbyState) -> None:
        """Now, a step was done in this state."""
        self.changed(step, state, state)

    def entries(self) -> tuple[StateChange, ...]:
        """Oldest first."""
        return tuple(self._entries)
