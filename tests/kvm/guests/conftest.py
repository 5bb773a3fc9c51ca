"""Builds the guests once; the tests need a KVM that can be used."""

import os
from pathlib import Path

import pytest

from ftd.vm.microvm.guests.build import build


@pytest.fixture(scope="session")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if not os.access("/dev/kvm", os.R_OK | os.W_OK):
        pytest.skip("/dev/kvm cannot be used")
    image_dir = tmp_path_factory.mktemp("guests")
    build(image_dir)
    return image_dir
