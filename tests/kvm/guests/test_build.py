"""The images: same bytes from the same sources, and errors that say what is missing."""

from pathlib import Path

import pytest

from ftd.vm.microvm.guests.build import GUESTS, GuestBuildError, build, image_path


def test_images_are_reproducible(tmp_path: Path) -> None:
    build(tmp_path / "one")
    build(tmp_path / "two")
    for guest in GUESTS:
        image = image_path(guest, tmp_path / "one").read_bytes()
        assert image
        assert image == image_path(guest, tmp_path / "two").read_bytes()


def test_entry_is_the_first_byte(tmp_path: Path) -> None:
    build(tmp_path)
    for guest in GUESTS:
        assert image_path(guest, tmp_path).read_bytes()[0] == 0xE8  # call guest_main


def test_a_missing_compiler_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(GuestBuildError, match="gcc is missing"):
        build(tmp_path)


def test_unknown_and_unbuilt_images_are_named(tmp_path: Path) -> None:
    with pytest.raises(KeyError, match="ledger, toucher, filler"):
        image_path("linux", tmp_path)
    with pytest.raises(FileNotFoundError, match="build the guests first"):
        image_path("ledger", tmp_path)
