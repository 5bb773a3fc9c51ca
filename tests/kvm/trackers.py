"""Which trackers this host's KVM has. A test of one that it lacks is skipped, and says so."""

from __future__ import annotations

from functools import cache

import pytest

from ftd.dataplane.core import host_trackers
from ftd.dataplane.errors import DataplaneError


@cache
def _missing(tracker: str) -> str:
    """Why a tracker cannot be tried here; empty: it can."""
    try:
        return "" if tracker in host_trackers() else f"this host's KVM has no {tracker} tracker"
    except DataplaneError as error:
        return f"KVM cannot be used: {error}"


def needs(tracker: str) -> pytest.MarkDecorator:
    """For tests, and parameters of tests, that use this tracker."""
    return pytest.mark.skipif(bool(_missing(tracker)), reason=_missing(tracker) or "it has it")


ALL = [pytest.param(tracker, marks=needs(tracker)) for tracker in ("mt", "ring", "bitmap")]
"""Values of a parameter `tracker`."""
