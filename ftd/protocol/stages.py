"""Which frame types a receiver takes, by what it is and how far it has come.

standby, data       HELLO ─▶ [SYNC DISK PART EPOCH] ─▶ EPOCH 1 ─▶ [PART EPOCH] ─▶ LEAVE or HANDOVER
primary, data       WELCOME ─▶ [DIGESTS] ─▶ [ACK] ─▶ LEAVE_ACK, HANDOVER_DONE or DISK_FAILED
heartbeat           HELLO / WELCOME ─▶ [HEARTBEAT]
"""

from __future__ import annotations

import enum
from typing import Final

from ftd.protocol.frames import FrameType


class Stage(enum.Enum):
    """Where a receiver stands on one connection."""

    STANDBY_HELLO = "standby_hello"
    STANDBY_SYNC = "standby_sync"
    STANDBY_READY = "standby_ready"
    PRIMARY_HELLO = "primary_hello"
    PRIMARY_COMPARING = "primary_comparing"
    PRIMARY_READY = "primary_ready"
    HEARTBEAT = "heartbeat"


_T = FrameType

ALLOWED: Final[dict[Stage, frozenset[FrameType]]] = {
    Stage.STANDBY_HELLO: frozenset({_T.HELLO}),
    Stage.STANDBY_SYNC: frozenset({_T.SYNC, _T.DISK, _T.PART, _T.EPOCH, _T.LEAVE, _T.REFUSE}),
    Stage.STANDBY_READY: frozenset({_T.PART, _T.EPOCH, _T.LEAVE, _T.HANDOVER, _T.REFUSE}),
    Stage.PRIMARY_HELLO: frozenset({_T.WELCOME, _T.REFUSE}),
    Stage.PRIMARY_COMPARING: frozenset({_T.DIGESTS, _T.REFUSE}),
    Stage.PRIMARY_READY: frozenset({_T.ACK, _T.LEAVE_ACK, _T.HANDOVER_DONE, _T.DISK_FAILED, _T.REFUSE}),
    Stage.HEARTBEAT: frozenset({_T.HEARTBEAT, _T.REFUSE}),
}
