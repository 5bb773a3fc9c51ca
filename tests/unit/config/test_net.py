"""`[net]` of a VM file."""

from pathlib import Path

import pytest

from ftd.config import load
from ftd.config_net import default_tap
from ftd.errors import ConfigError
from ftd.protocol.control import NetSpec
from ftd.specs import active_spec, guest_shape, shape_differences

HOST = """
[host]
name = "alpha"
control_listen = "127.0.0.1:7600"
data_address = "127.0.0.1"
[peers.beta]
address = "127.0.0.1:7601"
"""


def write(folder: Path, **nets: str) -> Path:
    """One VM a name, with this text in its `[net]`."""
    (folder / "vms").mkdir(exist_ok=True)
    (folder / "ftd.toml").write_text(HOST)
    (folder / "guest.bin").write_bytes(b"guest")
    for name, net in nets.items():
        text = f'name = "{name}"\nmemory_mib = 64\n[guest]\nimage = "../guest.bin"\n'
        (folder / f"vms/{name}.toml").write_text(text + (f"[net]\n{net}" if net else ""))
    return folder / "ftd.toml"


def test_defaults_follow_from_the_name(tmp_path: Path) -> None:
    """Two hosts of different releases must compute the same."""
    vm = load(write(tmp_path, web='bridge = "br0"')).vms["web"]
    assert vm.net == NetSpec(bridge="br0", tap="ftd-web", mac=bytes.fromhex("0219d3b332c6"), mtu=1500)


def test_everything_said(tmp_path: Path) -> None:
    net = 'bridge = "br0"\ntap = "t0"\nmac = "52:54:00:AA:bb:01"\nmtu = 9000\ncreate_bridge = true'
    vm = load(write(tmp_path, web=net)).vms["web"]
    mac = bytes.fromhex("525400aabb01")
    assert vm.net == NetSpec(bridge="br0", tap="t0", mac=mac, mtu=9000, create_bridge=True)


def test_no_table_is_no_network(tmp_path: Path) -> None:
    assert load(write(tmp_path, web="")).vms["web"].net is None


@pytest.mark.parametrize("name", ["a", "eleven-char", "twelve-chars", "x" * 63])
def test_a_tap_has_a_name_that_the_kernel_takes(name: str) -> None:
    assert len(default_tap(name)) <= 15
    assert default_tap(name) != default_tap(name + "y")


@pytest.mark.parametrize(
    ("net", "said"),
    [
        ("create_bridge = true", "bridge"),
        ('bridge = "has space"', "bridge"),
        ('bridge = "sixteen-characters-or-more"', "bridge"),
        ('bridge = "br0"\ntap = "a/b"', "tap"),
        ('bridge = "br0"\nmac = "52:54:00:aa:bb"', "is no address like"),
        ('bridge = "br0"\nmac = "53:54:00:aa:bb:01"', "the first byte must be even"),
        ('bridge = "br0"\nmac = "00:00:00:00:00:00"', "no single card's"),
        ('bridge = "br0"\nmtu = 1279', "mtu"),
        ('bridge = "br0"\nmtu = 9001', "mtu"),
        ('bridge = "br0"\nspeed = 10', "speed"),
    ],
)
def test_what_cannot_be_used(tmp_path: Path, net: str, said: str) -> None:
    path = write(tmp_path, web=net or "#")
    with pytest.raises(ConfigError, match=said):
        load(path)


@pytest.mark.parametrize("key", ['tap = "t0"', 'mac = "02:00:00:00:00:01"'])
def test_two_vms_share_nothing_but_the_bridge(tmp_path: Path, key: str) -> None:
    load(write(tmp_path, a='bridge = "br0"', b='bridge = "br0"'))
    with pytest.raises(ConfigError, match=r"b\.toml: net\..* is that of .*a\.toml, too"):
        load(write(tmp_path, a=f'bridge = "br0"\n{key}', b=f'bridge = "br0"\n{key}'))


def test_both_hosts_must_agree_on_what_the_guest_sees(tmp_path: Path) -> None:
    shapes = []
    for net in ("", 'bridge = "br0"', 'bridge = "br1"\nmtu = 9000'):
        config = load(write(tmp_path, web=net))
        shapes.append(guest_shape(active_spec(config, config.vms["web"], "", force=False)))
    none, small, large = shapes
    assert shape_differences(small, small) == []
    assert shape_differences(small, large) == ["net.mtu is 1500 there and 9000 here"], "bridges may differ"
    assert "net.mac is none (no [net]) there" in shape_differences(none, small)[0]
