"""One builder for the session; programs are compiled when a test first asks for them."""

import shutil

import pytest

from tests.dataplane.programs import Builder


@pytest.fixture(scope="session")
def builder(tmp_path_factory: pytest.TempPathFactory) -> Builder:
    if shutil.which("gcc") is None:
        pytest.skip("gcc is missing")
    return Builder(tmp_path_factory.mktemp("dataplane"))
