"""Which tracker a machine gets, by what its host offers and what its file asks for."""

import pytest

from ftd.dataplane.errors import DataplaneError
from ftd.vm.microvm import machine as microvm

SMALL = 64 << 20
LARGE = microvm.AUTO_BITMAP_BYTES_MAX + (2 << 20)
MAINLINE = {"ring", "bitmap"}
PATCHED = MAINLINE | {"mt"}


@pytest.fixture
def host(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> None:
    """A host that offers the parameter's trackers."""
    offered: set[str] = request.param
    monkeypatch.setattr(microvm, "host_trackers", lambda: frozenset(offered))


@pytest.mark.parametrize(
    ("host", "memory_bytes", "chosen"),
    [
        (PATCHED, SMALL, "mt"),
        (PATCHED, LARGE, "mt"),
        (MAINLINE, SMALL, "bitmap"),
        (MAINLINE, microvm.AUTO_BITMAP_BYTES_MAX, "bitmap"),
        (MAINLINE, LARGE, "ring"),
        ({"ring"}, SMALL, "ring"),
        ({"bitmap"}, LARGE, "bitmap"),
    ],
    indirect=["host"],
)
@pytest.mark.usefixtures("host")
def test_auto(memory_bytes: int, chosen: str) -> None:
    assert microvm.choose_tracker("auto", memory_bytes) == chosen


@pytest.mark.parametrize("host", [PATCHED], indirect=True)
@pytest.mark.parametrize("wanted", sorted(PATCHED))
@pytest.mark.usefixtures("host")
def test_what_is_asked_for_and_there(wanted: str) -> None:
    assert microvm.choose_tracker(wanted, LARGE) == wanted
    assert microvm.choose_tracker(wanted, LARGE, or_another=True) == wanted


@pytest.mark.parametrize("host", [MAINLINE], indirect=True)
@pytest.mark.usefixtures("host")
def test_a_primary_does_not_do_without_what_was_asked_for() -> None:
    with pytest.raises(DataplaneError) as caught:
        microvm.choose_tracker("mt", SMALL)
    assert "has no mt tracker (it has: bitmap, ring)" in caught.value.message
    assert "kernel-patches/README.md" in caught.value.message
    assert 'tracker = "auto"' in caught.value.message


@pytest.mark.parametrize("host", [MAINLINE], indirect=True)
@pytest.mark.usefixtures("host")
def test_a_standby_takes_another() -> None:
    assert microvm.choose_tracker("mt", SMALL, or_another=True) == "bitmap"
    assert microvm.choose_tracker("mt", LARGE, or_another=True) == "ring"


@pytest.mark.parametrize("host", [set()], indirect=True)
@pytest.mark.parametrize("wanted", ["auto", "mt"])
@pytest.mark.usefixtures("host")
def test_a_host_without_any(wanted: str) -> None:
    with pytest.raises(DataplaneError, match="offers neither a dirty ring nor"):
        microvm.choose_tracker(wanted, SMALL, or_another=True)
