"""docs/FAILURES.md promises a test for each fault: they exist, and no fault is without one."""

import ast
import re
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
TEXT = (ROOT / "docs/FAILURES.md").read_text()
NAMED = re.compile(r"`(tests/[\w/]+\.py)::(\w+)`")


def faults() -> list[str]:
    """Rows of the tables, without their heads."""
    rows = [line for line in TEXT.splitlines() if line.startswith("| ")]
    return [row for row in rows if not row.startswith(("| fault |", "| --- "))]


@cache
def functions_of(path: str) -> set[str]:
    tree = ast.parse((ROOT / path).read_text())
    return {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}


@pytest.mark.parametrize(("path", "name"), sorted(set(NAMED.findall(TEXT))))
def test_a_named_test_exists(path: str, name: str) -> None:
    assert name.startswith("test_")
    assert name in functions_of(path)


@pytest.mark.parametrize("row", faults(), ids=lambda row: row.split("|")[1].strip()[:50])
def test_a_fault_has_a_test(row: str) -> None:
    fault, reaction, outside, test = (cell.strip() for cell in row.strip("|").split("|"))
    assert fault
    assert reaction
    assert outside
    assert NAMED.search(test), "names no test as `tests/...py::test_...`"


def test_there_are_faults_of_each_kind() -> None:
    """Else the two tests above might look at nothing."""
    kinds = re.findall(r"(?m)^## (.*)$", TEXT)
    assert {
        "A process",
        "A host",
        "The link between the hosts",
        "A disk",
        "A clock",
        "The arbiter",
        "An operator",
    } <= {*kinds}
    assert len(faults()) > 40
