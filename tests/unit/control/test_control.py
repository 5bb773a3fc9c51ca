"""Control messages: what is carried whole, what is refused, and what never changes on the wire."""

import msgspec
import pytest

from ftd import limits
from ftd.errors import USAGE_KINDS, ControlError, ErrorKind
from ftd.protocol import envelope
from ftd.protocol.control import (
    WORKER_METHODS,
    EnterWorkerParams,
    FaultParams,
    ReadyReport,
    WorkerStatus,
    method_table,
)
from ftd.protocol.control_operator import OPERATOR_METHODS, VM_LIST
from ftd.protocol.control_peer import PEER_METHODS

ENTER = {"peer": "beta", "address": "127.0.0.1", "port": 7000, "token": bytes(limits.TOKEN_BYTES)}


def test_the_tables() -> None:
    assert set(WORKER_METHODS) == {
        *("status", "enter", "leave", "switchover", "failover", "stop", "fault", "corrupt"),
    }
    assert set(PEER_METHODS) == {
        *("peer_hello", "prepare_standby", "discard_standby", "release_standby", "peer_maintenance"),
        *("has_copy", "copy_view", "kill_standby", "protect"),
    }
    assert set(OPERATOR_METHODS) == {
        *("vm_start", "vm_stop", "vm_list", "enter", "leave", "switchover", "failover", "status", "version"),
        *(
            "maintenance",
            "confirm_off",
            "drill_view",
            "drill_there",
            "drill_kill_standby",
            "drill_protect",
            "drill_power",
        ),
    }
    assert method_table(VM_LIST) == {"vm_list": VM_LIST}


def test_every_message_refuses_fields_that_it_does_not_know() -> None:
    for table in (WORKER_METHODS, PEER_METHODS, OPERATOR_METHODS):
        for method in table.values():
            for message in (method.params, method.result):
                assert message.__struct_config__.forbid_unknown_fields, message
                assert message.__struct_config__.frozen, message


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("peer", "../beta"),
        ("peer", "beta\n"),
        ("peer", "x" * 64),
        ("port", 0),
        ("port", 65536),
        ("port", "7000"),
        ("token", bytes(15)),
        ("token", "0123456789abcdef"),
        ("extra", 1),
    ],
)
def test_values_out_of_range_are_refused(field: str, value: object) -> None:
    good = envelope.decode(msgspec.msgpack.encode(ENTER), EnterWorkerParams)
    assert good.port == 7000
    with pytest.raises(envelope.FrameError, match=r"EnterWorkerParams"):
        envelope.decode(msgspec.msgpack.encode({**ENTER, field: value}), EnterWorkerParams)


def test_fault_points_count_from_one() -> None:
    with pytest.raises(envelope.FrameError):
        envelope.decode(msgspec.msgpack.encode({"point": "send.half", "nth": 0}), FaultParams)


def test_ready_report_is_a_plain_map() -> None:
    assert envelope.decode(msgspec.msgpack.encode({"port": 5}), ReadyReport).port == 5
    error = {"kind": "no-kvm", "message": "m"}
    assert envelope.decode(msgspec.msgpack.encode({"error": error}), ReadyReport).error == error


def test_status_with_full_histograms_fits_a_frame() -> None:
    full = [(index, 2**40) for index in range(2048)]
    status = WorkerStatus(
        vm="web",
        vm_id="0" * 36,
        host="alpha",
        pid=1,
        role="active",
        state="protected",
        generation=1,
        epoch=2**60,
        tracker="ring",
        memory_bytes=2**40,
        vcpus=8,
        stamp_ns=2**60,
        counters={f"c{n}": 2**60 for n in range(100)},
        histograms={"pause_ns": full, "ack_ns": full, "harvest_ns": full},
    )
    frame = envelope.result_frame(1, status)
    assert len(frame) < limits.CONTROL_FRAME_BYTES_MAX // 4
    response = envelope.decode(frame[4:], envelope.Response)
    assert isinstance(response.result, msgspec.Raw)
    assert envelope.decode(response.result, WorkerStatus) == status


@pytest.mark.parametrize(
    "raw", [{"id": 1}, {"id": 1, "result": {}, "error": {"kind": "memory", "message": ""}}]
)
def test_a_response_is_a_result_or_an_error(raw: object) -> None:
    with pytest.raises(envelope.FrameError):
        envelope.decode(msgspec.msgpack.encode(raw), envelope.Response)


def test_frame_lengths() -> None:
    assert envelope.payload_length(envelope.frame_of(b"abc")[:4]) == 3
    for length in (0, limits.CONTROL_FRAME_BYTES_MAX + 1):
        with pytest.raises(envelope.FrameError):
            envelope.payload_length(length.to_bytes(4, "little"))


def test_kinds_are_never_renamed() -> None:
    assert {kind.value for kind in ErrorKind} >= {
        *("unknown-vm", "wrong-state", "wrong-role", "peer-unreachable", "refused", "arbiter", "config"),
        *("no-kvm", "memory", "timeout", "internal"),
    }


@pytest.mark.parametrize("kind", ErrorKind)
def test_exit_codes(kind: ErrorKind) -> None:
    assert ControlError(kind, "").exit_code == (2 if kind in USAGE_KINDS else 1)
