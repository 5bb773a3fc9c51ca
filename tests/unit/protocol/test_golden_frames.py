"""The golden vectors: the Python codec against the file that the C decoder is held to as well."""

from __future__ import annotations

import json
import runpy
from pathlib import Path
from typing import Any

import pytest

from ftd.protocol.body import Frame, build_frame, parse_frame
from ftd.protocol.frames import Expectation, FrameType, Limits
from ftd.protocol.handshake import decode_hello
from ftd.protocol.processor import Processor
from ftd.protocol.refusal import FrameRefused, Refusal
from ftd.protocol.state_blob import unpack_state

GOLDEN = Path(__file__).parents[2] / "golden"
VECTORS: list[dict[str, Any]] = json.loads((GOLDEN / "frames.json").read_text())


def expectation(context: dict[str, Any]) -> Expectation:
    return Expectation(
        vm_id=bytes.fromhex(context["vm_id"]),
        generation=context["generation"],
        pair=context["pair"],
        allowed=frozenset(FrameType[name] for name in context["allowed"]),
        limits=Limits(
            memory_pages=context["memory_pages"],
            epoch_pages_max=context["epoch_pages_max"],
            parts_max=context["parts_max"],
            state_bytes_max=context["state_bytes_max"],
            disk_bytes=context["disk_bytes"],
            extra_bytes_max=context["extra_bytes_max"],
        ),
        epoch_last=context["epoch_last"],
        epoch_sent=context["epoch_sent"],
        parts_received=context["parts_received"],
    )


def judge(raw: bytes, context: dict[str, Any]) -> Frame:
    frame = parse_frame(raw, expectation(context))
    if frame.header.type == FrameType.HELLO:
        decode_hello(
            frame.state,
            token=bytes.fromhex(context["token"]),
            channels_taken=frozenset(context["channels_taken"]),
            here=Processor(**context["processor"]),
        )
    if context["layer"] == "state":
        unpack_state(frame.state, max_sections=64, max_bytes=context["state_bytes_max"])
    return frame


def test_file_equals_what_the_generator_gives() -> None:
    render = runpy.run_path(str(GOLDEN / "generate_frames.py"))["render"]
    assert (GOLDEN / "frames.json").read_text() == render()


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: vector["name"])
def test_vector(vector: dict[str, Any]) -> None:
    raw = bytes.fromhex(vector["hex"])
    if vector["valid"]:
        frame = judge(raw, vector["context"])
        header = frame.header
        assert raw == build_frame(
            FrameType(header.type),
            vm_id=header.vm_id,
            generation=header.generation,
            epoch=header.epoch,
            flags=header.flags,
            state=frame.state,
            pages=frame.pages,
            extra=frame.extra,
            stamp_ns=header.stamp_ns,
            pair=header.pair,
        )
    else:
        with pytest.raises(FrameRefused) as refused:
            judge(raw, vector["context"])
        assert refused.value.refusal.label == vector["refusal"]


def test_every_type_has_a_good_vector_and_every_refusal_a_bad_one() -> None:
    assert {int.from_bytes(bytes.fromhex(v["hex"])[6:8], "little") for v in VECTORS if v["valid"]} == set(
        FrameType
    )
    assert {v["refusal"] for v in VECTORS if not v["valid"]} == {refusal.label for refusal in Refusal}
