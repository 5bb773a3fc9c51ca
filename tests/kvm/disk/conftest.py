"""Skips this folder where KVM cannot be used."""

import pytest

from ftd.dataplane.core import host_trackers
from ftd.dataplane.errors import DataplaneError


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    try:
        host_trackers()
    except DataplaneError as error:
        for item in items:
            if "tests/kvm/disk" in str(item.path):
                item.add_marker(pytest.mark.skip(reason=f"KVM cannot be used: {error}"))
