"""State blob of one epoch: a msgpack map {str: bin} of flat sections ("vcpu0", "vm", "console", ...).

It comes from outside and decides what a guest becomes, so nothing about it is taken on trust: every length is
bounded before memory is allocated for it, and a key that appears twice is refused rather than decided by
order.
"""

from __future__ import annotations

from typing import Any, Final

import msgpack

from ftd.protocol.refusal import FrameRefused, Refusal

SECTION_NAME_BYTES_MAX: Final = 64


class _Pairs(list[tuple[Any, Any]]):
    """A map as it stood on the wire, duplicates included."""


def pack_state(sections: dict[str, bytes]) -> bytes:
    """The blob of these sections, in their order."""
    blob: bytes = msgpack.packb(sections, use_bin_type=True)
    return blob


def unpack_state(blob: bytes, max_sections: int, max_bytes: int) -> dict[str, bytes]:
    """Sections of a blob. Raises FrameRefused (STATE) for anything but a map of at most ``max_sections``
    distinct non-empty names to bytes, ``max_bytes`` long in all, with nothing after it."""
    if len(blob) > max_bytes:
        raise _refused(f"{len(blob)} bytes, at most {max_bytes} are allowed")
    try:
        pairs = msgpack.unpackb(
            blob,
            raw=False,
            object_pairs_hook=_Pairs,
            strict_map_key=True,
            max_map_len=max_sections,
            max_str_len=SECTION_NAME_BYTES_MAX,
            max_bin_len=max_bytes,
            max_array_len=0,
            max_ext_len=0,
        )
    except (ValueError, msgpack.UnpackException) as error:
        raise _refused(f"not a map of sections: {str(error) or type(error).__name__}") from error
    if not isinstance(pairs, _Pairs):
        raise _refused(f"a map was expected, not {type(pairs).__name__}")
    return _checked(pairs)


def _checked(pairs: _Pairs) -> dict[str, bytes]:
    sections: dict[str, bytes] = {}
    for name, section in pairs:
        if not isinstance(name, str) or not name:
            raise _refused(f"{name!r} is not a section's name")
        if not isinstance(section, bytes):
            raise _refused(f"section {name!r} is {type(section).__name__}, not bytes")
        if name in sections:
            raise _refused(f"section {name!r} appears twice")
        sections[name] = section
    return sections


def _refused(why: str) -> FrameRefused:
    return FrameRefused(Refusal.STATE, f"state blob: {why}")
