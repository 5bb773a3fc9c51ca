"""What a comparison of two images finds, and what it refuses."""

from __future__ import annotations

import os
import random
import socket
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from ftd.dataplane.core import DISK_BLOCK_BYTES as BLOCK
from ftd.protocol.body import build_frame
from ftd.protocol.frames import FrameType
from ftd.worker import disk_compare
from ftd.worker.disk_compare import BLOCKS_PER_FRAME, DIGEST_BYTES, CompareError, Image, Wire

VM_ID = bytes(range(16))
KEY = b"k" * 16


class Map:
    """Stands in for a machine."""

    def __init__(self) -> None:
        self.marked: set[int] = set()

    def mark_disk(self, first: int, blocks: Sequence[int]) -> None:
        assert all(first <= block < first + BLOCKS_PER_FRAME for block in blocks)
        self.marked |= set(blocks)


class Images:
    """Two sparse files of a size."""

    def __init__(self, folder: Path, size_bytes: int) -> None:
        self.size_bytes = size_bytes
        self.fds = []
        for name in ("ours", "theirs"):
            self.fds.append(os.open(folder / name, os.O_RDWR | os.O_CREAT))
            os.ftruncate(self.fds[-1], size_bytes)

    def write(self, block: int, data: bytes, *, ours: bool, theirs: bool, at: int = 0) -> None:
        for fd, wanted in zip(self.fds, (ours, theirs), strict=True):
            if wanted:
                os.pwrite(fd, data, block * BLOCK + at)

    def images(self, key: bytes = KEY) -> list[Image]:
        return [Image(fd, self.size_bytes, key) for fd in self.fds]

    def compared(self) -> set[int]:
        near, far = socket.socketpair()
        ours, theirs = self.images()
        found, progress = Map(), list[int]()
        with near, far:
            telling = threading.Thread(target=disk_compare.tell, args=(Wire(far, VM_ID, 3, 9), theirs))
            telling.start()
            disk_compare.find_differences(Wire(near, VM_ID, 3, 9), ours, as_machine(found), progress.append)
            telling.join()
            assert near.gettimeout() is None
            assert far.gettimeout() is None
        assert progress[-1] == self.size_bytes
        return found.marked


def as_machine(found: Map) -> Any:
    return found


def test_nothing_differs_between_two_empty_images(tmp_path: Path) -> None:
    assert Images(tmp_path, 3 * BLOCKS_PER_FRAME * BLOCK).compared() == set()


def test_what_differs_is_found(tmp_path: Path) -> None:
    images = Images(tmp_path, 10 * BLOCK + 512)
    images.write(0, b"equal", ours=True, theirs=True)
    images.write(1, b"a", ours=True, theirs=False)
    images.write(2, b"a", ours=False, theirs=True, at=BLOCK - 1)
    images.write(3, b"a", ours=True, theirs=False, at=5)
    images.write(3, b"b", ours=False, theirs=True, at=5)
    images.write(4, bytes(BLOCK), ours=True, theirs=False)  # written, and nothing but zeros
    images.write(10, b"last", ours=True, theirs=False, at=508)
    assert images.compared() == {1, 2, 3, 10}


def test_blocks_past_the_first_frame(tmp_path: Path) -> None:
    images = Images(tmp_path, (2 * BLOCKS_PER_FRAME + 7) * BLOCK)
    for block in (0, BLOCKS_PER_FRAME - 1, BLOCKS_PER_FRAME, 2 * BLOCKS_PER_FRAME + 6):
        images.write(block, b"x", ours=False, theirs=True)
    assert images.compared() == {0, BLOCKS_PER_FRAME - 1, BLOCKS_PER_FRAME, 2 * BLOCKS_PER_FRAME + 6}


@pytest.mark.parametrize("seed", range(20))
def test_random_images(tmp_path: Path, seed: int) -> None:
    """Exactly what a comparison byte by byte finds; more only where the standby has nothing."""
    chosen = random.Random(seed)
    blocks = chosen.randrange(1, 200)
    images = Images(tmp_path, blocks * BLOCK - chosen.choice([0, 512, BLOCK - 512]))
    for _ in range(chosen.randrange(40)):
        block = chosen.randrange(blocks)
        at = chosen.randrange(min(BLOCK, images.size_bytes - block * BLOCK))
        data = chosen.choice([b"\0", b"x"])
        images.write(block, data, ours=chosen.random() < 0.7, theirs=chosen.random() < 0.7, at=at)
    differing = {
        block
        for block in range(blocks)
        if os.pread(images.fds[0], BLOCK, block * BLOCK) != os.pread(images.fds[1], BLOCK, block * BLOCK)
    }
    found = images.compared()
    assert differing <= found
    if any(os.pread(images.fds[1], images.size_bytes, 0)):
        assert found == differing


def test_digests_are_the_pairs_own(tmp_path: Path) -> None:
    images = Images(tmp_path, BLOCK)
    images.write(0, b"x", ours=True, theirs=True)
    ours, theirs = images.images()
    assert ours.digests(range(1)) == theirs.digests(range(1))
    other, _ = images.images(b"o" * 16)
    assert ours.digests(range(1)) != other.digests(range(1))


# ---- a standby that lies, or goes ----


def refused(tmp_path: Path, sent: bytes) -> str:
    images = Images(tmp_path, 3 * BLOCK)
    ours, _ = images.images()
    near, far = socket.socketpair()
    with near:
        far.sendall(sent)
        far.close()
        with pytest.raises(CompareError) as error:
            disk_compare.find_differences(Wire(near, VM_ID, 3, 9), ours, as_machine(Map()), lambda _: None)
    return str(error.value)


def digests_frame(**changed: Any) -> bytes:
    fields = {"vm_id": VM_ID, "generation": 3, "pair": 9, "state": bytes(range(3 * DIGEST_BYTES)), **changed}
    return build_frame(FrameType.DIGESTS, **fields)


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"pair": 8}, "pair"),
        ({"generation": 4}, "generation"),
        ({"vm_id": bytes(16)}, "vm"),
        ({"state": bytes(2 * DIGEST_BYTES)}, "length"),
        ({"state": bytes(4 * DIGEST_BYTES)}, "length"),
        ({"state": bytes((BLOCKS_PER_FRAME + 1) * DIGEST_BYTES)}, "oversize"),
        ({"epoch": 1}, "epoch"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_frames_that_are_not_ours_are_refused(tmp_path: Path, changed: dict[str, Any], reason: str) -> None:
    assert reason in refused(tmp_path, digests_frame(**changed))


def test_another_type_is_refused(tmp_path: Path) -> None:
    assert "type" in refused(tmp_path, build_frame(FrameType.ACK, vm_id=VM_ID, generation=3, pair=9, epoch=1))


def test_a_flipped_bit_is_refused(tmp_path: Path) -> None:
    sent = bytearray(digests_frame())
    sent[-1] ^= 1
    assert "body_crc" in refused(tmp_path, bytes(sent))


@pytest.mark.parametrize("length", [0, 40, 80, 100])
def test_a_standby_that_goes_is_told(tmp_path: Path, length: int) -> None:
    assert "has closed the connection" in refused(tmp_path, digests_frame()[:length])


def test_a_standby_that_says_nothing_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(disk_compare, "SILENCE_S", 0.05)
    ours, _ = Images(tmp_path, BLOCK).images()
    near, far = socket.socketpair()
    with near, far, pytest.raises(CompareError, match=r"told no digests of its disk for 0\.05 s"):
        disk_compare.find_differences(Wire(near, VM_ID, 3, 9), ours, as_machine(Map()), lambda _: None)


def test_an_image_that_cannot_be_read_is_told(tmp_path: Path) -> None:
    folder = os.open(tmp_path, os.O_RDONLY)
    near, far = socket.socketpair()
    with near, far, pytest.raises(CompareError, match="Is a directory"):
        disk_compare.tell(Wire(far, VM_ID, 3, 9), Image(folder, BLOCK, KEY))
    os.close(folder)
