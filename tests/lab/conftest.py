"""Hosts of the lab. What cannot be had on this machine skips the tests that need it, with its name."""

from collections.abc import Generator

import pytest

from lab.errors import MissingError
from lab.host import emulator
from lab.kernel import image
from lab.kernel import modules as built
from lab.kernel.modules import Modules


@pytest.hookimpl(wrapper=True)
def pytest_pyfunc_call() -> Generator[None, object, object]:
    """A test that finds something missing on the way is skipped like one whose fixture does."""
    try:
        return (yield)
    except MissingError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="session")
def modules() -> Modules:
    """The modules of the whole series, for the newest kernel; the emulator is there, too."""
    try:
        emulator.require()
        return built.build(image.find())
    except MissingError as error:
        pytest.skip(str(error))
