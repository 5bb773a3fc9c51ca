"""How long a peer may be silent: at the beginning, while it allocates its arenas; and after that."""

import select

import pytest

from ftd.dataplane.core import LinkConfig, Machine
from ftd.dataplane.events import EventKind, LostReason
from ftd.drill.demo_kvm import check
from ftd.protocol.body import build_frame
from ftd.protocol.frames import FrameType
from tests.kvm.cycle.machines import VM_ID, connected

TIMEOUT_MS = 50
BEAT = build_frame(FrameType.HEARTBEAT, vm_id=VM_ID, generation=1, stamp_ns=1)


def news_within(machine: Machine, timeout_ms: int) -> bool:
    poll = select.poll()
    poll.register(machine.event_fd, select.POLLIN)
    return bool(poll.poll(timeout_ms))


def test_a_peer_that_has_not_spoken_yet_is_not_taken_for_silent() -> None:
    missing = check()
    if missing is not None:
        pytest.skip(f"no usable KVM: {missing.why}")
    machine = Machine(memory_bytes=8 << 20, vcpus=1, irqchip=False, tracker="bitmap", epoch_pages_max=64)
    data, peer_data = connected()
    heartbeat, peer_heartbeat = connected()
    link = LinkConfig(
        vm_id=VM_ID,
        generation=1,
        data=data,
        heartbeat=heartbeat,
        heartbeat_interval_ms=10,
        heartbeat_timeout_ms=TIMEOUT_MS,
        epoch_pages_max=64,
        parts_max=1,
    )
    standby = machine.start_standby(link)
    with peer_data, peer_heartbeat:
        assert not news_within(machine, 10 * TIMEOUT_MS)
        peer_heartbeat.sendall(BEAT)
        assert news_within(machine, 5_000)
        (news,) = machine.take_events()
    assert (news.kind, LostReason(news.reason)) == (EventKind.PEER_LOST, LostReason.SILENT)
    standby.free()
    machine.close()
