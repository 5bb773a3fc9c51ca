"""VM files that boot Linux: what they mean, what does not go together, and what both hosts compare."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path

import pytest

from ftd.config import Config, VmConfig, load
from ftd.config_linux import LinuxGuest
from ftd.errors import ConfigError
from ftd.protocol.control import LinuxSpec
from ftd.specs import active_spec, guest_shape, shape_differences

HOST = """
[host]
name = "alpha"
control_listen = "127.0.0.1:7600"
data_address = "127.0.0.1"
"""
VM = """
name = "web"
memory_mib = 256
irqchip = true
[serial]
listen = "unix:{runtime_dir}/web.serial"
[guest]
kernel = "vmlinuz"
"""


def loaded(tmp_path: Path, vm: str) -> Config:
    """A host with one VM file; its kernel and initrd lie beside it."""
    (tmp_path / "vms").mkdir(exist_ok=True)
    (tmp_path / "vms/web.toml").write_text(vm)
    (tmp_path / "vms/vmlinuz").write_bytes(b"kernel")
    (tmp_path / "vms/initrd").write_bytes(b"initrd")
    (tmp_path / "ftd.toml").write_text(HOST)
    return load(tmp_path / "ftd.toml")


def vm_of(tmp_path: Path, vm: str) -> VmConfig:
    return loaded(tmp_path, vm).vms["web"]


def test_a_kernel_alone(tmp_path: Path) -> None:
    vm = vm_of(tmp_path, VM)
    assert vm.image == tmp_path / "vms/vmlinuz"
    assert vm.linux == LinuxGuest(initrd=None, cmdline="")
    assert vm.initrd_sha256() is None
    assert vm.serial == "unix:/run/ftd/web.serial"


def test_what_a_worker_is_told(tmp_path: Path) -> None:
    config = loaded(tmp_path, VM + 'initrd = "initrd"\ncmdline = "console=ttyS0"\n')
    spec = active_spec(config, config.vms["web"], "/x.sock", force=False)
    assert spec.guest.image_sha256 == hashlib.sha256(b"kernel").digest()
    assert spec.guest.linux == LinuxSpec(
        initrd=str(tmp_path / "vms/initrd"),
        initrd_sha256=hashlib.sha256(b"initrd").digest(),
        cmdline="console=ttyS0",
    )
    assert spec.serial == "unix:/run/ftd/web.serial"


@pytest.mark.parametrize(
    ("vm", "said"),
    [
        (VM.replace("irqchip = true", ""), r"guest\.kernel: Linux needs .*irqchip = true"),
        (VM + 'image = "ledger"', r"guest\.kernel: .*not both"),
        (VM + "args = [1]", r"guest\.kernel: .*not both"),
        (VM.replace('kernel = "vmlinuz"', 'initrd = "initrd"'), r"guest\.initrd: it needs guest\.kernel"),
        (VM.replace('kernel = "vmlinuz"', 'cmdline = "quiet"'), r"guest\.cmdline: it needs guest\.kernel"),
        (VM.replace("unix:{runtime_dir}", "udp:"), r"serial\.listen: 'udp:/web\.serial' is neither"),
    ],
)
def test_keys_that_do_not_go_together(tmp_path: Path, vm: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        loaded(tmp_path, vm)


@pytest.mark.parametrize(
    ("missing", "said"),
    [
        ("vmlinuz", r"guest\.kernel: cannot read .*vmlinuz"),
        ("initrd", r"guest\.initrd: cannot read .*initrd"),
    ],
)
def test_missing_files_are_a_sentence(tmp_path: Path, missing: str, said: str) -> None:
    config = loaded(tmp_path, VM + 'initrd = "initrd"\n')
    (tmp_path / "vms" / missing).unlink()
    with pytest.raises(ConfigError, match=said):
        active_spec(config, config.vms["web"], "/x.sock", force=False)


def test_both_hosts_boot_the_same(tmp_path: Path) -> None:
    config = loaded(tmp_path, VM + 'initrd = "initrd"\n')
    vm = config.vms["web"]
    ours = guest_shape(active_spec(config, vm, "/x.sock", force=False))
    assert shape_differences(ours, ours) == []
    (tmp_path / "vms/initrd").write_bytes(b"another")
    other = replace(vm, linux=LinuxGuest(initrd=tmp_path / "vms/initrd", cmdline="quiet"))
    theirs = guest_shape(active_spec(config, other, "/x.sock", force=False))
    said = "; ".join(shape_differences(theirs, ours))
    assert "guest.initrd (sha256) is " in said
    assert "guest.cmdline is quiet there and  here" in said
    assert "kernel" not in said
