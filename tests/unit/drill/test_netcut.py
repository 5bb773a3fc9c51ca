"""Rules that drop exactly what they name, and nothing else."""

import os
import shutil
import subprocess

import pytest

from ftd.drill import netcut
from ftd.errors import ControlError
from ftd.protocol.control import EndpointSpec, LinkEnds

LINK = [
    LinkEnds(here=EndpointSpec(host="10.0.0.1", port=40001), there=EndpointSpec(host="10.0.0.2", port=7)),
    LinkEnds(here=EndpointSpec(host="fd00::1", port=40002), there=EndpointSpec(host="fd00::2", port=7)),
]
BOTH_WAYS = """\
add table inet ftd_drill_x
delete table inet ftd_drill_x
table inet ftd_drill_x {
  chain output { type filter hook output priority 0; policy accept;
    ip saddr 10.0.0.1 ip daddr 10.0.0.2 tcp sport 40001 tcp dport 7 drop
    ip6 saddr fd00::1 ip6 daddr fd00::2 tcp sport 40002 tcp dport 7 drop
  }
  chain input { type filter hook input priority 0; policy accept;
    ip saddr 10.0.0.2 ip daddr 10.0.0.1 tcp sport 7 tcp dport 40001 drop
    ip6 saddr fd00::2 ip6 daddr fd00::1 tcp sport 7 tcp dport 40002 drop
  }
}
"""


def test_both_ways() -> None:
    assert netcut.cut_rules("ftd_drill_x", LINK, outbound=True, inbound=True) == BOTH_WAYS


def test_one_way_has_no_chain_for_the_other() -> None:
    rules = netcut.cut_rules("ftd_drill_x", LINK, outbound=True, inbound=False)
    assert "hook output" in rules
    assert "hook input" not in rules


def test_a_table_belongs_to_one_vm() -> None:
    assert netcut.table_name(bytes(16)) != netcut.table_name(bytes([1]) + bytes(15))


@pytest.mark.parametrize(
    "rules",
    [
        netcut.cut_rules("ftd_drill_x", LINK, outbound=True, inbound=True),
        netcut.silence_rules("ftd_drill_x", [end.there for end in LINK]),
    ],
    ids=["cut", "silence"],
)
def test_nft_takes_the_rules(rules: str) -> None:
    """Checked in a network of its own, which ends with the program."""
    if shutil.which("nft") is None or os.geteuid() != 0:
        pytest.skip("needs root and the Debian package nftables")
    command = ["unshare", "--net", "nft", "--check", "-f", "-"]
    done = subprocess.run(command, input=rules, capture_output=True, text=True, check=False)
    if "unshare" in done.stderr:
        pytest.skip(f"no network namespaces: {done.stderr}")
    assert (done.returncode, done.stderr) == (0, "")


async def test_without_nft_the_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.which", lambda name, path: None)
    with pytest.raises(ControlError, match="install the package nftables"):
        await netcut.check("")
