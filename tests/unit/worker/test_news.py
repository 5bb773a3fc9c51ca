"""What is said about a loss, and about the end of a guest."""

import errno

import pytest

from ftd.dataplane.events import Event, EventKind, LostReason
from ftd.worker.news import lost_sentence, stopped_sentence


@pytest.mark.parametrize(
    ("reason", "detail", "said"),
    [
        (LostReason.OVERFLOW, 5000, "5000 dirty pages do not fit one epoch (epoch_pages_max, parts_max)"),
        (LostReason.OVERFLOW, 0, "KVM's list of dirty pages overflowed"),
        (LostReason.LOCAL, errno.EINTR, "KVM failed here (Interrupted system call)"),
        (LostReason.SILENT, 501_000_000, "silent for 501 ms"),
    ],
)
def test_lost_sentence(reason: LostReason, detail: int, said: str) -> None:
    assert lost_sentence(Event(EventKind.PEER_LOST, reason, 7, detail)) == said


@pytest.mark.parametrize(
    ("detail", "said"),
    [
        (1000, "powered off"),
        (1001, "asked for a reboot"),
        (1103, "crashed"),
        (8, "vCPU 1: triple fault"),
        (17, "vCPU 1: KVM internal error"),
        (99, "vCPU 1: KVM exit 99"),
        (1177, "vCPU 1: KVM exit 1177"),
        (-errno.EFAULT, "vCPU 1: Bad address"),
    ],
)
def test_stopped_sentence(detail: int, said: str) -> None:
    assert stopped_sentence(Event(EventKind.GUEST_STOPPED, 1, 0, detail)) == said
