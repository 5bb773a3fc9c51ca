"""A guest that scribbles on a disk: whoever dies, the copy that goes on has the disk as the guest left it."""

import os
import random
import signal
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import pytest
import trio

from ftd.drill.local_pair import Guest, LocalHost, LocalPair, local_pair
from ftd.errors import ControlError
from ftd.protocol.control import VmParams
from ftd.protocol.control_operator import LEAVE, SWITCHOVER, VM_START, VM_STOP, ForceParams
from ftd.transport.framing import TransportError
from tests.failover.scene import eventually

MIB: Final = 1 << 20
GUEST: Final = Guest(
    image="scribbler",
    args=(512, 0, 4096, 4, 0, 11),
    memory_mib=32,
    console=False,
    disk_bytes=8 * MIB,
    replication={"checkpoint_rate_hz": 500, "heartbeat_timeout_ms": 3000},
)
DISK_HELD: Final = "scribbler: the disk is not as it was left"


@dataclass(frozen=True)
class Row:
    """``side`` dies at the ``nth`` passage of ``point``, at enter or later; ``survivor``, if any, goes on."""

    point: str
    side: str
    survivor: str | None
    at_enter: bool = False
    nth: int = 1

    @property
    def name(self) -> str:
        return f"{self.point}-{self.nth}"


TABLE: Final = [
    Row("enter.in-disk", "alpha", None, at_enter=True, nth=2),
    Row("disk.written", "alpha", "beta", nth=5),
    Row("disk.noted", "alpha", "beta", nth=7),
    Row("send.half", "alpha", "beta", nth=3),
    Row("seal.before-queue", "alpha", "beta", nth=4),
    Row("commit.disk", "beta", "alpha", nth=9),
]
POINTS: Final = {"disk.compared", "enter.in-disk", "disk.written", "disk.noted", "commit.disk"}


async def requests(pair: LocalPair, host: LocalHost) -> dict[str, int]:
    status = await host.status(GUEST.name)
    assert status is not None, f"{host.name} has no worker: {host.worker_log(GUEST.name)[-2000:]}"
    return status.counters


async def goes_on(pair: LocalPair, host: LocalHost) -> None:
    """The guest reads what it wrote, which it checks itself, and no request fails."""
    before = (await requests(pair, host))["disk_bytes_read"]

    async def read_much() -> bool:
        return (await requests(pair, host))["disk_bytes_read"] > before + MIB

    await eventually("the guest reads back a MiB", read_much)
    assert (await requests(pair, host))["disk_errors"] == 0
    assert DISK_HELD not in serial_of(host), serial_of(host)


def serial_of(host: LocalHost) -> str:
    path = host.worker_socket(GUEST.name).with_suffix(".serial")
    return path.read_text() if path.exists() else ""


@pytest.mark.parametrize("row", TABLE, ids=lambda row: row.name)
async def test_a_death_at(row: Row) -> None:
    async with local_pair(GUEST, faults=True) as pair:
        await pair.start_guest()
        await goes_on(pair, pair.alpha)
        if not row.at_enter:
            await pair.enter()
        victim = pair.alpha if row.side == "alpha" else pair.beta
        with suppress(TransportError):  # it may have died before it could answer
            await victim.arm_fault(GUEST.name, row.point, row.nth)
        if row.at_enter:
            with suppress(ControlError):
                await pair.enter()
        if row.survivor is None:
            await settled(pair)
            await refuses_to_start(pair.beta, "standby's copy")
            return
        survivor = pair.alpha if row.survivor == "alpha" else pair.beta
        await pair.wait_for_state(survivor, "simplex")
        await goes_on(pair, survivor)
        await pair.enter(survivor)
        await goes_on(pair, survivor)


async def test_a_primary_that_dies_while_images_are_compared() -> None:
    """It was not protected yet, and the other host's image is nobody's."""
    async with local_pair(GUEST, faults=True) as pair:
        await pair.start_guest()
        await pair.alpha.arm_fault(GUEST.name, "disk.compared", 1)
        with pytest.raises(ControlError):
            await pair.enter()
        await settled(pair)


async def test_only_what_differs_is_sent_again() -> None:
    """After a failover; and what somebody did to the image that was left behind is not trusted."""
    untouched, large = 32 * MIB, replace(GUEST, disk_bytes=64 * MIB)
    async with local_pair(large) as pair:
        image = pair.alpha.image(large.name)
        image.write_bytes(bytes(untouched) + random.Random(1).randbytes(untouched))
        await pair.start_guest()
        await pair.enter()
        assert (await requests(pair, pair.alpha))["disk_sync_total"] >= untouched
        os.kill(await pair.alpha.worker_pid(large.name), signal.SIGKILL)
        await pair.wait_for_state(pair.beta, "simplex")
        await goes_on(pair, pair.beta)
        with image.open("r+b") as file:
            file.seek(-1, os.SEEK_END)
            file.write(b"tampered with"[:1])
        await pair.enter(pair.beta)
        assert MIB // 16 <= (await requests(pair, pair.beta))["disk_sync_total"] < untouched / 4
        await pair.beta.call(SWITCHOVER, VmParams(vm=large.name))
        await pair.wait_for_state(pair.alpha, "simplex")
        await goes_on(pair, pair.alpha)
        images = [host.image(large.name).read_bytes()[untouched:] for host in pair.hosts]
        assert images[0] == images[1] == random.Random(1).randbytes(untouched)


async def settled(pair: LocalPair) -> None:
    async def nobody() -> bool:
        return all([await host.status(GUEST.name) is None for host in pair.hosts])

    await eventually("both workers have ended", nobody)


async def refuses_to_start(host: LocalHost, why: str) -> None:
    with pytest.raises(ControlError, match=why) as refused:
        await host.call(VM_START, ForceParams(vm=GUEST.name, force=False))
    assert str(host.image(GUEST.name)) in refused.value.message


async def test_kills_at_random_moments_back_and_forth() -> None:
    chosen = random.Random(4)
    async with local_pair(GUEST) as pair:
        await pair.start_guest()
        active, waiting = pair.alpha, pair.beta
        for _ in range(6):
            await pair.enter(active)
            await trio.sleep(chosen.uniform(0, 0.2))
            os.kill(await active.worker_pid(GUEST.name), signal.SIGKILL)
            await pair.wait_for_state(waiting, "simplex")
            await goes_on(pair, waiting)
            active, waiting = waiting, active


async def test_a_planned_switchover_takes_the_disk_along() -> None:
    async with local_pair(GUEST) as pair:
        await pair.start_guest()
        await pair.enter()
        await pair.alpha.call(SWITCHOVER, VmParams(vm=GUEST.name))
        await pair.wait_for_state(pair.beta, "simplex")
        await goes_on(pair, pair.beta)
        await pair.beta.call(VM_STOP, VmParams(vm=GUEST.name))
        await refuses_to_start(pair.alpha, "has run elsewhere since")


async def test_a_disk_that_was_left_behind_is_not_started_from() -> None:
    async with local_pair(GUEST) as pair:
        await pair.start_guest()
        await pair.enter()
        await pair.alpha.call(LEAVE, VmParams(vm=GUEST.name))
        await goes_on(pair, pair.alpha)
        await pair.alpha.call(VM_STOP, VmParams(vm=GUEST.name))
        await refuses_to_start(pair.beta, "standby's copy")
        await pair.start_guest(pair.alpha)


# ---- what enter and start refuse ----


async def refused_enter(pair: LocalPair) -> str:
    with pytest.raises(ControlError) as refused:
        await pair.enter()
    status = await pair.alpha.status(GUEST.name)
    assert status is not None
    assert status.state == "idle"
    assert await pair.beta.status(GUEST.name) is None
    return refused.value.message


async def test_enter_says_what_is_wrong_with_the_standbys_image() -> None:
    async with local_pair(GUEST) as pair:
        await pair.start_guest()
        image = pair.beta.image(GUEST.name)
        image.write_bytes(bytes(4096))
        message = await refused_enter(pair)
        assert f"{image} has 4096 bytes, and the guest's disk has {GUEST.disk_bytes}" in message
        image.unlink()
        image.symlink_to(pair.alpha.image(GUEST.name))
        assert "in use by another process" in await refused_enter(pair)
        image.unlink()
        image.mkdir()
        assert "Is a directory" in await refused_enter(pair)
        image.rmdir()
        image.parent.rename(image.parent.with_name("gone"))
        assert "is missing and cannot be made" in await refused_enter(pair)
        image.parent.with_name("gone").rename(image.parent)
        await pair.enter()


async def test_start_says_what_is_wrong_with_the_image() -> None:
    async with local_pair(GUEST) as pair:
        image = pair.alpha.image(GUEST.name)
        image.unlink()
        with pytest.raises(ControlError, match=f"{image} cannot be opened: No such file"):
            await pair.start_guest()
        image.write_bytes(bytes(1000))
        with pytest.raises(ControlError, match="not a multiple of 512"):
            await pair.start_guest()


# ---- disks that fail ----


async def test_a_standby_whose_disk_is_full_gives_up_and_the_guest_goes_on(small_disk: Path) -> None:
    async with local_pair(GUEST) as pair:
        pair.beta.image(GUEST.name).symlink_to(small_disk / "image")
        (small_disk / "image").touch()
        os.truncate(small_disk / "image", GUEST.disk_bytes)
        await pair.start_guest()
        # Its 2 MiB of units fit, until somebody else takes the room of those that are discarded just now.
        await pair.enter()
        await wrote(pair, 8 * MIB)
        with (small_disk / "other").open("wb", buffering=0) as other, suppress(OSError):
            while True:
                other.write(bytes(4096))
        status = await pair.wait_for_state(pair.alpha, "simplex")
        assert "its disk failed (No space left on device)" in status.reason
        assert status.generation == 2
        await goes_on(pair, pair.alpha)
        assert await gone(pair.beta)
        assert "the disk here failed (No space left on device)" in pair.beta.worker_log(GUEST.name)
        await refuses_to_start(pair.beta, "belongs to host alpha|standby's copy")


async def test_a_standby_whose_disk_is_full_already_fails_enter(small_disk: Path) -> None:
    async with local_pair(replace(GUEST, args=(2048, 0, 4096, 4, 0, 11))) as pair:
        pair.beta.image(GUEST.name).symlink_to(small_disk / "image")
        (small_disk / "image").touch()
        os.truncate(small_disk / "image", GUEST.disk_bytes)
        await pair.start_guest()

        await wrote(pair, 24 * MIB)  # more than fits the standby
        with pytest.raises(ControlError, match=r"its disk failed \(No space left on device\)"):
            await pair.enter()
        await pair.wait_for_state(pair.alpha, "idle")
        await goes_on(pair, pair.alpha)


async def wrote(pair: LocalPair, more_bytes: int) -> None:
    before = (await requests(pair, pair.alpha))["disk_bytes_written"]

    async def enough() -> bool:
        return (await requests(pair, pair.alpha))["disk_bytes_written"] > before + more_bytes

    await eventually(f"{more_bytes} more bytes are written", enough)


async def gone(host: LocalHost) -> bool:
    async def ended() -> bool:
        return await host.status(GUEST.name) is None

    await eventually(f"the end of {host.name}'s worker", ended)
    return True
