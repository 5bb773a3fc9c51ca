"""etcd for tests: one member, and a cluster of three. What cannot be had skips the test with its name."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from lab.debian import etcd
from lab.errors import MissingError
from tests.etcd.cluster import Cluster, running


@pytest.fixture(scope="session")
def etcd_program() -> Path:
    """The program."""
    try:
        return etcd.find()
    except MissingError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="session")
def one_member(etcd_program: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A cluster of one, for all tests; each has a prefix of its own."""
    with running(etcd_program, tmp_path_factory.mktemp("etcd"), 1) as cluster:
        yield cluster


@pytest.fixture(scope="session")
def _three_members(etcd_program: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with running(etcd_program, tmp_path_factory.mktemp("etcd3"), 3) as cluster:
        yield cluster


@pytest.fixture
async def three(_three_members: Cluster) -> Cluster:
    """A cluster of three, all well."""
    await _three_members.heal()
    return _three_members


@pytest.fixture
def prefix() -> str:
    """Of keys that no other test has."""
    return f"/{uuid.uuid4()}/"
