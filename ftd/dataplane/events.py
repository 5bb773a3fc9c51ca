"""News of the native threads, as they come out of the data plane's queue."""

from __future__ import annotations

import enum
from dataclasses import dataclass


class EventKind(enum.IntEnum):
    """Same ordinals as FTD_EVENT_* in api.h."""

    SYNC_ROUND = 1
    FIRST_SEALED = 2
    PROTECTED = 3
    PEER_LOST = 4
    LEAVE_ACKED = 5
    DRAINED = 6
    HANDED_OVER = 7
    FIRST_COMPLETE = 8
    LEAVE = 9
    HANDOVER = 10
    GUEST_STOPPED = 11
    DISK_FAILED = 12


class LostReason(enum.IntEnum):
    """Same ordinals as FTD_LOST_* in api.h."""

    CLOSED = 1
    RESET = 2
    SILENT = 3
    REFUSED = 4
    OVERFLOW = 5
    LOCAL = 6
    DISK_HERE = 7
    DISK_THERE = 8
    SLOW = 9


@dataclass(frozen=True, slots=True)
class Event:
    """One piece of news. ``reason`` and ``detail`` are of losses, failures and ends, ``epoch`` of most."""

    kind: EventKind
    reason: int = 0
    epoch: int = 0
    detail: int = 0
