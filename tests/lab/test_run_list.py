"""Lists of runs: what they say, what they may not say, how they share boots."""

from pathlib import Path

import pytest

from lab.errors import LabError
from lab.kernel.series import PATCHES
from lab.selftests import ours
from lab.selftests.run_list import Machine, Run, by_machine, read


def _list(folder: Path, text: str) -> Path:
    path = folder / "run.list"
    path.write_text(text)
    return path


def test_all_settings(tmp_path: Path) -> None:
    settings = "cpus=4 memory=2048 params=kvm.tdp_mmu=N,kvm_amd.npt=0 boot=hugepages=64 timeout=90"
    text = f"""
    # comment
    one: -- exact
    two: {settings} -- stress -t 8 'a b'  # why
    """
    one, two = read(_list(tmp_path, text))
    assert one == Run("one", "exact")
    machine = Machine(4, 2048, ("kvm.tdp_mmu=N", "kvm_amd.npt=0"), ("hugepages=64",))
    assert two == Run("two", "stress", ("-t", "8", "a b"), machine, 90)


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("one cpus=2 -- exact", "a run is"),
        ("one: cpus=2", "a run is"),
        ("one: cpu=2 -- exact", "`cpu=2` is none of the settings"),
        ("one: cpus=two -- exact", "two"),
        ("one: -- exact\none: -- errors", "two runs called one"),
    ],
)
def test_what_is_no_run_is_refused_by_its_line(tmp_path: Path, line: str, why: str) -> None:
    with pytest.raises(LabError, match=why):
        read(_list(tmp_path, line))


def test_runs_of_one_machine_share_a_boot() -> None:
    other = Machine(parameters=("kvm_amd.npt=0",))
    runs = [Run("a", "x"), Run("b", "x", (), other), Run("c", "y")]
    assert {m: [r.name for r in g] for m, g in by_machine(runs).items()} == {
        Machine(): ["a", "c"],
        other: ["b"],
    }


def test_every_planted_fault_has_a_patch_and_a_run() -> None:
    names = {run.name for run in read(ours.MUTANT_RUNS)}
    planted = ours.mutants()
    assert {f"{mutant.name}.patch" for mutant in planted} == {
        path.name for path in (PATCHES / "mutants").iterdir()
    }
    assert {mutant.run for mutant in planted} <= names
