"""What is to be protected survives a restart, a crash in the middle, and damage."""

import errno
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from ftd import durable_file
from ftd.errors import ConfigError, ControlError
from ftd.protection.wishes import Wish, Wishes


def reloaded(directory: Path) -> dict[str, Wish]:
    wishes = Wishes(directory)
    wishes.load()
    return wishes.all()


async def test_kept_over_a_restart_and_dropped(tmp_path: Path) -> None:
    directory = tmp_path / "state/protection"
    wishes = Wishes(directory)
    wishes.load()
    await wishes.put("web", Wish.ENTERED)
    await wishes.put("db.new", Wish.STANDBY)
    assert reloaded(directory) == {"web": Wish.ENTERED, "db.new": Wish.STANDBY} == wishes.all()
    await wishes.put("web", None)
    assert reloaded(directory) == {"db.new": Wish.STANDBY}
    assert wishes.get("web") is None


async def test_nothing_is_written_before_there_is_something_to_keep(tmp_path: Path) -> None:
    wishes = Wishes(tmp_path / "protection")
    wishes.load()
    await wishes.put("web", None)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("contents", [b"", b"ent", b"\xff\xfe", b"x" * 100_000])
def test_damage_means_wanted(tmp_path: Path, contents: bytes) -> None:
    """That it is there says enough: leave removes it."""
    (tmp_path / "web.wanted").write_bytes(contents)
    assert reloaded(tmp_path) == {"web": Wish.ENTERED}


def test_what_cannot_be_read_is_not_guessed(tmp_path: Path) -> None:
    (tmp_path / "web.wanted").mkdir()
    with pytest.raises(ConfigError, match=r"host\.state_dir: cannot read .*web\.wanted: Is a directory"):
        Wishes(tmp_path).load()


@pytest.mark.parametrize("step", ["fsync", "rename"])
async def test_a_full_disk_changes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    wishes = Wishes(tmp_path)
    await wishes.put("web", Wish.STANDBY)
    if step == "fsync":
        monkeypatch.setattr(os, "fsync", full)
    else:
        monkeypatch.setattr(Path, "rename", full)
    with pytest.raises(ControlError, match=r"cannot record in .*web\.wanted .*: No space left on device"):
        await wishes.put("web", Wish.ENTERED)
    assert wishes.get("web") is Wish.STANDBY
    assert reloaded(tmp_path) == {"web": Wish.STANDBY}
    assert [path.name for path in tmp_path.iterdir()] == ["web.wanted"]


class PowerLoss(BaseException):
    """Everything ends here."""


def before_rename(monkeypatch: pytest.MonkeyPatch) -> None:
    def lose_power(*_: object) -> None:
        raise PowerLoss

    monkeypatch.setattr(Path, "rename", lose_power)


def before_sync(monkeypatch: pytest.MonkeyPatch) -> None:
    def lose_power(*_: object) -> None:
        raise PowerLoss

    monkeypatch.setattr(os, "fsync", lose_power)


@pytest.mark.parametrize("moment", [before_sync, before_rename])
def test_a_crash_in_the_middle_leaves_the_old_contents(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, moment: Callable[[pytest.MonkeyPatch], None]
) -> None:
    durable_file.replace(tmp_path / "web.wanted", b"standby\n")
    with monkeypatch.context() as patch:
        moment(patch)
        with pytest.raises(PowerLoss):
            durable_file.replace(tmp_path / "web.wanted", b"entered\n")
    assert reloaded(tmp_path) == {"web": Wish.STANDBY}


def test_the_contents_are_on_the_disk_before_the_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps: list[str] = []
    fsync, rename = os.fsync, Path.rename

    def record_sync(descriptor: int) -> None:
        steps.append("sync folder" if os.path.isdir(f"/proc/self/fd/{descriptor}") else "sync file")
        fsync(descriptor)

    def record_rename(path: Path, target: Path) -> Path:
        steps.append("rename")
        return rename(path, target)

    monkeypatch.setattr(os, "fsync", record_sync)
    monkeypatch.setattr(Path, "rename", record_rename)
    durable_file.replace(tmp_path / "web.wanted", b"entered\n")
    assert steps == ["sync file", "rename", "sync folder"]
    steps.clear()
    durable_file.remove(tmp_path / "web.wanted")
    assert steps == ["sync folder"]
