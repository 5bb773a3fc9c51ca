"""What a guest has seen of its processor, and whether it can go on with another host's.

A guest reads CPUID when it boots and relies on it for good; a checkpoint holds its registers in the host
kernel's layout. So a standby needs every feature that the primary's guest was offered, the same layout of
state, and a time stamp counter of the same frequency. It is found out when a pair connects: at a failover it
would be too late.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Final, NamedTuple

import msgspec
from msgspec import Meta

U32_MAX: Final = (1 << 32) - 1
FEATURES_MAX: Final = 64
MSRS_MAX: Final = 256
TSC_TOLERANCE_PPM: Final = 250
"""Within this KVM takes a frequency for its own (its `tsc_tolerance_ppm`)."""

U32 = Annotated[int, Meta(ge=0, le=U32_MAX)]


class CpuidEntry(NamedTuple):
    """One leaf, as KVM_GET_CPUID2 gives it."""

    leaf: int
    subleaf: int
    eax: int
    ebx: int
    ecx: int
    edx: int


_OSXSAVE: Final = 1 << 27
_OSPKE: Final = 1 << 4
FEATURE_WORDS: Final[dict[tuple[int, int], dict[str, int]]] = {
    # What follows a guest's control registers is no feature of a host.
    (0x1, 0): {"ecx": U32_MAX & ~_OSXSAVE, "edx": U32_MAX},
    (0x7, 0): {"ebx": U32_MAX, "ecx": U32_MAX & ~_OSPKE, "edx": U32_MAX},
    (0x7, 1): {"eax": U32_MAX, "ebx": U32_MAX, "ecx": U32_MAX, "edx": U32_MAX},
    (0x7, 2): {"edx": U32_MAX},
    (0xD, 0): {"eax": U32_MAX, "edx": U32_MAX},
    (0xD, 1): {"eax": U32_MAX, "ecx": U32_MAX, "edx": U32_MAX},
    (0x40000001, 0): {"eax": U32_MAX, "edx": U32_MAX},
    (0x80000001, 0): {"ecx": U32_MAX, "edx": U32_MAX},
    (0x80000007, 0): {"edx": U32_MAX},
    (0x80000008, 0): {"ebx": U32_MAX},
    (0x80000021, 0): {"eax": U32_MAX},
}
"""Leaf and subleaf: which registers are words of feature bits, and which of the bits count.

Intel SDM, volume 2A, CPUID; AMD APM, volume 3, appendix E; Documentation/virt/kvm/x86/cpuid.rst.
"""


class Processor(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A machine's processor, as far as a checkpoint of its guest depends on it."""

    vendor: Annotated[str, Meta(max_length=12)]
    features: Annotated[dict[Annotated[str, Meta(max_length=24)], U32], Meta(max_length=FEATURES_MAX)]
    """Word of feature bits (`7.0.ebx`) to its value, without words that are zero."""
    xsave_bytes: U32
    msrs: Annotated[list[U32], Meta(max_length=MSRS_MAX)]
    """Indices, in the order in which their values stand in a state blob."""
    tsc_khz: U32
    """The guest's; 0: the kernel does not say."""
    scales_tsc: bool
    """The host can run a guest whose frequency is another one."""


def vendor_of(entries: Iterable[CpuidEntry]) -> str:
    """The vendor's twelve characters; empty if there is no leaf 0."""
    for entry in entries:
        if entry.leaf == 0:
            raw = b"".join(word.to_bytes(4, "little") for word in (entry.ebx, entry.edx, entry.ecx))
            return raw.decode("ascii", errors="replace")
    return ""


def features_of(entries: Iterable[CpuidEntry]) -> dict[str, int]:
    """The words of feature bits that are not zero."""
    found: dict[str, int] = {}
    for entry in entries:
        for register, mask in FEATURE_WORDS.get((entry.leaf, entry.subleaf), {}).items():
            if value := getattr(entry, register) & mask:
                found[f"{entry.leaf:x}.{entry.subleaf:x}.{register}"] = value
    return found


def why_unfit(guest: Processor, here: Processor) -> str | None:
    """Why a guest that runs on ``guest`` could not go on with ``here``; None if it can."""
    if guest.vendor != here.vendor:
        return f"the primary's processor is of {guest.vendor or 'no vendor'}, this host's of {here.vendor}"
    lacking = {word: bits & ~here.features.get(word, 0) for word, bits in guest.features.items()}
    named = [f"CPUID {word} 0x{bits:x}" for word, bits in sorted(lacking.items()) if bits]
    if named:
        return f"this host's processor lacks features that the guest was offered: {', '.join(named)}"
    if guest.xsave_bytes != here.xsave_bytes:
        return (
            f"the processors' XSAVE areas differ: {guest.xsave_bytes} bytes on the primary, "
            f"{here.xsave_bytes} here"
        )
    if guest.msrs != here.msrs:
        return _why_other_msrs(guest.msrs, here.msrs)
    if guest.tsc_khz and not here.scales_tsc and not _is_near(guest.tsc_khz, here.tsc_khz):
        return (
            f"the guest's time stamp counter runs at {guest.tsc_khz} kHz, this host's at {here.tsc_khz} kHz, "
            "and this host cannot scale it"
        )
    return None


def _why_other_msrs(guest: list[int], here: list[int]) -> str:
    only_there, only_here = sorted(set(guest) - set(here)), sorted(set(here) - set(guest))
    differences = [
        f"only {where}: {', '.join(f'0x{index:x}' for index in indices)}"
        for where, indices in (("on the primary", only_there), ("here", only_here))
        if indices
    ]
    return "the hosts' kernels differ in the MSRs that they save" + (
        f" ({'; '.join(differences)})" if differences else ""
    )


def _is_near(one_khz: int, other_khz: int) -> bool:
    return abs(one_khz - other_khz) * 1_000_000 <= TSC_TOLERANCE_PPM * other_khz
