"""Turns news of the data plane into events of the decision cores."""

from __future__ import annotations

import os
from typing import Final

from ftd.dataplane.events import Event as News
from ftd.dataplane.events import EventKind, LostReason
from ftd.protocol.refusal import Refusal
from ftd.replication import events as ev

_PLAIN: Final[dict[EventKind, ev.Event]] = {
    EventKind.FIRST_SEALED: ev.FirstSealed(),
    EventKind.PROTECTED: ev.Protected(),
    EventKind.LEAVE_ACKED: ev.LeaveAcked(),
    EventKind.DRAINED: ev.Drained(),
    EventKind.HANDED_OVER: ev.HandedOver(),
    EventKind.FIRST_COMPLETE: ev.FirstComplete(),
    EventKind.LEAVE: ev.Leave(),
    EventKind.HANDOVER: ev.Handover(),
}
POWERED_OFF: Final = 1000
REBOOT_WANTED: Final = 1001
_SYSTEM_EVENTS: Final = {1101: "shut down by KVM", 1102: "reset by KVM", 1103: "crashed"}
# FTD_STOP_* of api.h, and exit reasons of linux/kvm.h that end a guest.
_EXITS: Final = {
    POWERED_OFF: "powered off",
    REBOOT_WANTED: "asked for a reboot",
    **_SYSTEM_EVENTS,
    5: "halted",
    6: "no debugger",
    8: "triple fault",
    9: "invalid state",
    17: "KVM internal error",
}


def event_of(news: News) -> ev.Event | None:
    """The core's event; None for mere progress."""
    match news.kind:
        case EventKind.SYNC_ROUND:
            return None
        case EventKind.PEER_LOST:
            return ev.PeerLost(lost_sentence(news))
        case EventKind.DISK_FAILED:
            return ev.DiskFailed(os.strerror(news.detail))
        case EventKind.GUEST_STOPPED:
            return ev.GuestStopped(stopped_sentence(news))
    return _PLAIN[news.kind]


def lost_sentence(news: News) -> str:
    """Why the peer counts as lost, for status and log."""
    match LostReason(news.reason):
        case LostReason.CLOSED:
            return "connection closed"
        case LostReason.RESET:
            return f"connection broken ({os.strerror(news.detail)})" if news.detail else "connection broken"
        case LostReason.SILENT:
            return f"silent for {news.detail // 1_000_000} ms"
        case LostReason.REFUSED:
            return f"sent a frame that was refused ({Refusal(news.detail).label})"
        case LostReason.OVERFLOW:
            if news.detail == 0:
                return "KVM's list of dirty pages overflowed"
            return f"{news.detail} dirty pages do not fit one epoch (epoch_pages_max, parts_max)"
        case LostReason.LOCAL:
            return f"KVM failed here ({os.strerror(abs(news.detail))})"
        case LostReason.DISK_HERE:
            return f"the disk here cannot be read ({os.strerror(news.detail)})"
        case LostReason.DISK_THERE:
            return f"its disk failed ({os.strerror(news.detail)})"
        case LostReason.SLOW:
            return (
                f"the link is too slow: heartbeats are echoed after {news.detail // 1_000_000} ms, "
                "and output would wait for ever; raise heartbeat_timeout_ms (and watchdog_ms, if it is set)"
            )


def stopped_sentence(news: News) -> str:
    """How the guest ended."""
    if news.detail >= POWERED_OFF and news.detail in _EXITS:
        return _EXITS[news.detail]  # whichever vCPU it was that said so
    if news.detail < 0:
        return f"vCPU {news.reason}: {os.strerror(-news.detail)}"
    return f"vCPU {news.reason}: {_EXITS.get(news.detail, f'KVM exit {news.detail}')}"
