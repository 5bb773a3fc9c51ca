"""What the demonstration says where KVM cannot be used."""

import errno
import os
from pathlib import Path

import pytest

from ftd.drill import demo_kvm

INTEL = "processor\t: 0\nflags\t\t: fpu vme vmx ssse3\nvmx flags\t: vnmi\n"
AMD = "processor\t: 0\nflags\t\t: fpu svm\n"
PLAIN = "processor\t: 0\nflags\t\t: fpu vmxlike\n"


@pytest.mark.parametrize(("cpuinfo", "flag"), [(INTEL, "vmx"), (AMD, "svm"), (PLAIN, None), ("", None)])
def test_virtualisation_flag(cpuinfo: str, flag: str | None) -> None:
    assert demo_kvm.virtualisation_flag(cpuinfo) == flag


@pytest.mark.parametrize(
    ("error", "flag", "first_advice"),
    [
        (errno.ENOENT, "vmx", "modprobe kvm_intel"),
        (errno.ENODEV, "svm", "modprobe kvm_amd"),
        (errno.ENOENT, None, "firmware"),
        (errno.EACCES, "vmx", "usermod -aG kvm"),
        (errno.EPERM, None, "usermod -aG kvm"),
        (errno.EIO, "vmx", "dmesg"),
    ],
)
def test_advice_begins_with_what_fits_the_error(error: int, flag: str | None, first_advice: str) -> None:
    told = demo_kvm.explain_open(OSError(error, os.strerror(error)), Path("/dev/kvm"), flag)
    assert os.strerror(error) in told.why
    assert first_advice in told.advice[0]


def test_nested_virtualisation_is_named_where_the_processor_shows_nothing() -> None:
    told = demo_kvm.explain_open(OSError(errno.ENOENT, "none"), Path("/dev/kvm"), None)
    assert any("nested=1" in advice for advice in told.advice)


def test_a_device_that_is_absent(tmp_path: Path) -> None:
    cpuinfo = tmp_path / "cpuinfo"
    cpuinfo.write_text(AMD)
    told = demo_kvm.check(tmp_path / "kvm", cpuinfo)
    assert told is not None
    assert "No such file" in told.why


def test_a_device_that_is_not_kvm() -> None:
    told = demo_kvm.check(Path("/dev/null"))
    assert told is not None
    assert "/dev/null is not KVM" in told.why
