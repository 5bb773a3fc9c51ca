"""The examples that the package ships are valid, and describe two hosts that can protect each other's VMs."""

from pathlib import Path

import pytest

from ftd import config as config_module
from ftd.config import load
from ftd.config_reader import read_toml
from ftd.config_schema import HostFile, ReplicationSection

EXAMPLES = Path(__file__).resolve().parents[3] / "config"


@pytest.fixture(autouse=True)
def built_guests(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The images are built with the package; here only their names matter."""
    (tmp_path / "ledger.bin").write_bytes(b"ledger")
    monkeypatch.setattr(config_module, "GUEST_IMAGES", tmp_path)


def test_the_two_hosts_fit_together() -> None:
    alpha, beta = load(EXAMPLES / "ftd-alpha.toml"), load(EXAMPLES / "ftd-beta.toml")
    assert alpha.peers["beta"] == beta.control_listen
    assert beta.peers["alpha"] == alpha.control_listen
    assert alpha.vms.keys() == beta.vms.keys() == {"ledger"}
    assert alpha.vms["ledger"].peer == "beta"
    assert beta.vms["ledger"].peer == "alpha"
    assert alpha.arbiter_directory == beta.arbiter_directory


def test_commented_defaults_are_the_defaults() -> None:
    """ftd-alpha.toml says "These are the defaults": a changed default must change it."""
    example = read_toml(EXAMPLES / "ftd-alpha.toml", HostFile)
    assert example.replication == ReplicationSection()
