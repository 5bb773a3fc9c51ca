"""Real daemons, workers and guests: where KVM cannot be used, none of these tests can say anything."""

import pytest

from ftd.drill.demo_kvm import check


@pytest.fixture(autouse=True)
def _kvm() -> None:
    missing = check()
    if missing is not None:
        pytest.skip(f"no usable KVM: {missing.why}")
