"""What a process pulls in, seen from the process itself: the import linter sees only our own imports."""

import subprocess
import sys
from importlib.util import find_spec

import pytest

HEAVY = {"click", "rich", "pyroute2"}


@pytest.mark.parametrize(
    "module", ["ftd.transport.server", "ftd.log", "ftd.protocol.control", "ftd.replication", "ftd.worker"]
)
def test_a_worker_stays_light(module: str) -> None:
    if find_spec(module) is None:
        pytest.skip(f"{module} does not exist")
    script = f"import sys, {module}; print(*({HEAVY!r} & sys.modules.keys()))"
    shown = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert shown.stdout.split() == []
