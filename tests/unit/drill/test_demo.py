"""The demonstration where it cannot take place. Where it can, tests/kvm/test_demo.py runs it."""

from pathlib import Path

import pytest
from click.testing import CliRunner

from ftd.ctl.main import main as ftctl
from ftd.drill import demo, demo_kvm
from ftd.drill.local_pair import Guest, LocalPairError


def test_without_kvm_it_says_what_to_do_and_starts_nothing(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    missing = demo_kvm.NoKvm("/dev/kvm: No such file or directory", ("Load the module", "Or another"))
    monkeypatch.setattr(demo_kvm, "check", lambda: missing)
    monkeypatch.setattr(demo, "local_pair", None)
    result = CliRunner().invoke(ftctl, ["demo"])
    assert result.exit_code == demo.EXIT_NO_KVM
    assert "there is none: /dev/kvm: No such file or directory." in result.output
    assert "1. Load the module." in result.output
    assert "2. Or another." in result.output


def test_a_host_that_does_not_start_is_a_failure_with_its_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuses(guest: Guest) -> None:
        assert guest.replication["checkpoint_rate_hz"] == 700
        raise LocalPairError("ftd of alpha did not start: no image")

    monkeypatch.setattr(demo_kvm, "check", lambda: None)
    monkeypatch.setattr(demo, "local_pair", refuses)
    result = CliRunner().invoke(ftctl, ["demo", "--rate", "700"])
    assert result.exit_code == demo.EXIT_BROKEN
    assert "FAILED: ftd of alpha did not start: no image" in result.output


@pytest.mark.parametrize("arguments", [["--seconds", "0"], ["--seconds", "31"], ["--rate", "0"]])
def test_options_out_of_range_are_wrong_usage(arguments: list[str]) -> None:
    assert CliRunner().invoke(ftctl, ["demo", *arguments]).exit_code == 2
