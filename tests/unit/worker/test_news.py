"""What is said about a loss."""

import errno

import pytest

from ftd.dataplane.events import Event, EventKind, LostReason
from ftd.worker.news import lost_sentence


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
