"""The tests need a KVM that can be used, and the guests that are built with the package."""

import os

import pytest


@pytest.fixture(autouse=True)
def _usable_kvm() -> None:
    if not os.access("/dev/kvm", os.R_OK | os.W_OK):
        pytest.skip("/dev/kvm cannot be used")
