"""The examples that the package ships are valid, and describe two hosts that can protect each other's VMs."""

import re
from pathlib import Path

import pytest

from ftd import config as config_module
from ftd.config import load
from ftd.config_reader import read_toml
from ftd.config_schema import HostFile, ReplicationSection
from ftd.specs import arbiter_spec

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


def test_etcd_in_place_of_the_folder(tmp_path: Path) -> None:
    host = (EXAMPLES / "ftd-alpha.toml").read_text()
    etcd = (EXAMPLES / "arbiter-etcd.toml").read_text()
    (tmp_path / "vms").mkdir()
    path = tmp_path / "ftd.toml"
    before, after = re.split(r"\[arbiter\].*?(?=\n#)", host, flags=re.DOTALL)
    for table in (etcd, etcd.replace("# c", "c").replace("# k", "k")):
        path.write_text(f"{before}{table}{after}")
        spec = arbiter_spec(load(path)).etcd
        assert spec is not None
        assert [str(endpoint) for endpoint in spec.endpoints] == [f"10.0.0.{n}:2379" for n in (1, 2, 3)]
        assert (spec.tls is None) == (table is etcd)


def test_commented_defaults_are_the_defaults() -> None:
    """ftd-alpha.toml says "These are the defaults": a changed default must change it."""
    example = read_toml(EXAMPLES / "ftd-alpha.toml", HostFile)
    assert example.replication == ReplicationSection()
