"""Both arbiters, for tests of what they have in common."""

from __future__ import annotations

from pathlib import Path

import pytest

from ftd.arbiter.contract import Arbiter
from ftd.arbiter.local import LocalArbiter
from tests.etcd.cluster import Cluster
from tests.etcd.fixtures import etcd_program, one_member, prefix

__all__ = ["etcd_program", "one_member", "prefix"]


@pytest.fixture(params=["local", "etcd"])
def both(request: pytest.FixtureRequest, tmp_path: Path) -> Arbiter:
    """Each of the arbiters in turn, without any record."""
    if request.param == "local":
        return LocalArbiter(tmp_path, lock_timeout_ms=100)
    cluster: Cluster = request.getfixturevalue("one_member")
    return cluster.arbiter(request.getfixturevalue("prefix"))
