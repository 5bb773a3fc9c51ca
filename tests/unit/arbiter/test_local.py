"""The local arbiter within one process: what must never be taken for an answer. Answers: test_contract.py."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from ftd.arbiter.contract import ArbiterUnreachable, Won
from ftd.arbiter.local import LocalArbiter

VM = "4f4c1f3a-1f7d-4d0e-9d57-6f2f0d3c9a10"
ALPHA_CLAIM = b"alpha claims it."
BETA_CLAIM = b"beta claims it.."


@pytest.fixture
def arbiter(tmp_path: Path) -> LocalArbiter:
    return LocalArbiter(tmp_path, lock_timeout_ms=100)


async def assert_unreachable(arbiter: LocalArbiter, why: str, expected: int = 1) -> None:
    with pytest.raises(ArbiterUnreachable, match=why):
        await arbiter.claim(VM, expected, "beta", BETA_CLAIM)


async def test_directory_that_does_not_exist_is_not_made(tmp_path: Path) -> None:
    arbiter = LocalArbiter(tmp_path / "not mounted")
    await assert_unreachable(arbiter, "does not exist: mount it", expected=0)
    with pytest.raises(ArbiterUnreachable, match="does not exist"):
        await arbiter.read(VM)
    assert os.listdir(tmp_path) == []


async def test_record_that_went_missing_or_back_is_no_answer(arbiter: LocalArbiter, tmp_path: Path) -> None:
    await assert_unreachable(arbiter, "says generation 0, but 1 was held")
    await arbiter.claim(VM, 0, "alpha", ALPHA_CLAIM)
    await assert_unreachable(arbiter, "says generation 1, but 5 was held", expected=5)
    assert json.loads((tmp_path / f"{VM}.json").read_text())["generation"] == 1


def damages(good: bytes) -> Iterator[bytes]:
    yield from (good[:length] for length in range(len(good) - 1))
    yield good.replace(b'"generation":1', b'"generation":0')
    yield good.replace(b'"generation":1', b'"generation":2')
    yield good.replace(b"alpha", b"betta")
    yield good + good
    yield bytes(len(good))
    yield good + b" " * 5000 + b"x"


async def test_damaged_record_is_never_an_answer_and_stays_for_the_operator(
    arbiter: LocalArbiter, tmp_path: Path
) -> None:
    await arbiter.claim(VM, 0, "alpha", ALPHA_CLAIM)
    path = tmp_path / f"{VM}.json"
    for damaged in damages(path.read_bytes()):
        path.write_bytes(damaged)
        await assert_unreachable(arbiter, "damaged.*restore it, or remove it")
        with pytest.raises(ArbiterUnreachable, match="damaged"):
            await arbiter.read(VM)
        assert path.read_bytes() == damaged


async def test_record_of_another_vm_is_no_answer(arbiter: LocalArbiter, tmp_path: Path) -> None:
    other = "00000000-0000-0000-0000-000000000001"
    await arbiter.claim(other, 0, "alpha", ALPHA_CLAIM)
    (tmp_path / f"{other}.json").rename(tmp_path / f"{VM}.json")
    await assert_unreachable(arbiter, "record of another VM")


async def test_file_system_that_hangs_is_unreachable_in_time(tmp_path: Path) -> None:
    fifo = tmp_path / f"{VM}.json"
    os.mkfifo(fifo)  # opening it for reading hangs, like a dead NFS server
    arbiter = LocalArbiter(tmp_path, answer_timeout_ms=50)
    try:
        with pytest.raises(ArbiterUnreachable, match="no answer from the file system within 50 ms"):
            await arbiter.read(VM)
    finally:
        os.close(os.open(fifo, os.O_WRONLY))  # lets the thread that was left behind end


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    if os.geteuid() != 0:
        pytest.skip("mounting a tmpfs needs root")
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", tmp_path], check=True)
    yield tmp_path
    subprocess.run(["umount", tmp_path], check=True)


def fill_disk(directory: Path) -> Path:
    filler = directory / "filler"
    with contextlib.suppress(OSError), filler.open("wb", buffering=0) as file:
        while True:
            file.write(bytes(4096))
    return filler


async def test_full_disk_is_unreachable_and_keeps_the_old_record(small_disk: Path) -> None:
    arbiter = LocalArbiter(small_disk)
    won = await arbiter.claim(VM, 0, "alpha", ALPHA_CLAIM)
    filler = fill_disk(small_disk)
    await assert_unreachable(arbiter, "the file system is full")
    assert await arbiter.read(VM) == won.record
    filler.unlink()
    assert isinstance(await arbiter.claim(VM, 1, "beta", BETA_CLAIM), Won)
