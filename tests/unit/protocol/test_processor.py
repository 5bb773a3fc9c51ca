"""Which host's processor a guest can go on with."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from ftd.protocol.processor import (
    FEATURE_WORDS,
    CpuidEntry,
    Processor,
    features_of,
    vendor_of,
    why_unfit,
)

GUEST = Processor(
    vendor="GenuineIntel",
    features={"1.0.ecx": 0b1011, "7.0.ebx": 0b100},
    xsave_bytes=4096,
    msrs=[0x10, 0x174, 0xC0000080],
    tsc_khz=2_400_000,
    scales_tsc=False,
)
WORDS = st.dictionaries(st.sampled_from(["1.0.ecx", "1.0.edx", "7.0.ebx"]), st.integers(0, (1 << 32) - 1))


def test_the_same_processor_will_do() -> None:
    assert why_unfit(GUEST, GUEST) is None


def test_a_standby_may_have_more_features() -> None:
    more = replace(GUEST, features={**GUEST.features, "7.0.ebx": 0b111, "80000001.0.ecx": 1})
    assert why_unfit(GUEST, more) is None
    assert why_unfit(more, GUEST) == (
        "this host's processor lacks features that the guest was offered: "
        "CPUID 7.0.ebx 0x3, CPUID 80000001.0.ecx 0x1"
    )


@given(WORDS, WORDS)
def test_what_is_named_is_what_is_lacking(guest: dict[str, int], here: dict[str, int]) -> None:
    why = why_unfit(replace(GUEST, features=guest), replace(GUEST, features=here))
    lacking = {word for word, bits in guest.items() if bits & ~here.get(word, 0)}
    assert (why is None) == (not lacking)
    assert all(f"CPUID {word} " in (why or "") for word in lacking)


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"vendor": "AuthenticAMD"}, "of GenuineIntel, this host's of AuthenticAMD"),
        ({"xsave_bytes": 8192}, "4096 bytes on the primary, 8192 here"),
        (
            {"msrs": [0x10, 0x48, 0xC0000080]},
            "MSRs that they save (only on the primary: 0x174; only here: 0x48)",
        ),
        ({"msrs": [0x174, 0x10, 0xC0000080]}, "MSRs that they save"),
        ({"tsc_khz": 2_500_000}, "runs at 2400000 kHz, this host's at 2500000 kHz"),
    ],
)
def test_what_could_not_be_restored_is_refused(changed: dict[str, object], said: str) -> None:
    assert said in str(why_unfit(GUEST, replace(GUEST, **changed)))


@pytest.mark.parametrize(
    "changed",
    [
        {"tsc_khz": 2_400_000 + 2_400_000 * 249 // 10**6},
        {"tsc_khz": 2_400_000 - 2_400_000 * 249 // 10**6},
        {"tsc_khz": 3_000_000, "scales_tsc": True},
    ],
)
def test_a_counter_that_kvm_can_make_fit_will_do(changed: dict[str, object]) -> None:
    assert why_unfit(GUEST, replace(GUEST, **changed)) is None


def test_a_kernel_that_names_no_frequency_asks_for_none() -> None:
    assert why_unfit(replace(GUEST, tsc_khz=0), GUEST) is None


def test_only_feature_bits_count() -> None:
    entries = [
        CpuidEntry(0x0, 0, 0x20, 0x756E6547, 0x6C65746E, 0x49656E69),
        CpuidEntry(0x1, 0, 0x806F8, 0x05080800, 0x7FFEFBFF | 1 << 27, 0xBFEBFBFF),
        CpuidEntry(0x7, 1, 0, 0, 0, 0),
        CpuidEntry(0xB, 0, 1, 2, 3, 4),
    ]
    assert vendor_of(entries) == "GenuineIntel"
    assert features_of(entries) == {"1.0.ecx": 0x7FFEFBFF & ~(1 << 27), "1.0.edx": 0xBFEBFBFF}
    assert vendor_of([]) == ""


def test_a_map_of_all_words_fits_hello() -> None:
    assert sum(len(words) for words in FEATURE_WORDS.values()) <= 64
