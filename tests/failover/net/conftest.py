"""Without namespaces, taps and KVM none of these tests can say anything."""

import pytest

from tests.failover.net.lan import missing


@pytest.fixture(autouse=True)
def _network() -> None:
    why = missing()
    if why is not None:
        pytest.skip(why)
