"""Claims answered by proof: when it counts, when it does not, and that one turns a host off for all."""

import os
import stat
from pathlib import Path

import pytest
import trio

from ftd import arbiter
from ftd.arbiter.contract import ArbiterUnreachable, Won
from ftd.arbiter.fencing import proof as proof_module
from ftd.arbiter.fencing.arbiter import FencingArbiter
from ftd.arbiter.fencing.proof import Proof, now_ns
from ftd.protocol.control import ArbiterSpec, FenceSpec, FencingSpec

VM = "01234567-89ab-cdef-0123-456789abcdef"
OTHER_VM = "11234567-89ab-cdef-0123-456789abcdef"


class Device:
    """A host's power, as a file."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.off = folder / "is-off"
        self.log = folder / "asked"
        self.command = folder / "agent"
        self.command.write_text(
            f"#!/bin/sh\nread action; echo $action >> {self.log}\n"
            f"[ $action = action=off ] && touch {self.off}\n"
            f"[ $action = action=status ] && [ -e {self.off} ] && exit 2\n"
            "exit 0\n"
        )
        self.command.chmod(self.command.stat().st_mode | stat.S_IXUSR)

    def arbiter(self, *, delay_s: int = 0) -> FencingArbiter:
        device = FenceSpec(host="beta", command=str(self.command), options=[], delay_s=delay_s, timeout_s=20)
        return FencingArbiter(self.folder / "state", FencingSpec(peer="beta", device=device))

    def asked(self) -> list[str]:
        return self.log.read_text().split() if self.log.exists() else []


@pytest.fixture
def device(tmp_path: Path) -> Device:
    return Device(tmp_path)


def claim_id() -> bytes:
    return os.urandom(16)


async def test_proof_wins_the_claim(device: Device) -> None:
    mine = device.arbiter()
    answer = await mine.claim(VM, 4, "alpha", claim_id())
    assert isinstance(answer, Won)
    assert (answer.record.generation, answer.record.holder) == (5, "alpha")
    assert device.asked() == ["action=off", "action=status"]


async def test_a_repeated_claim_needs_no_second_proof(device: Device) -> None:
    mine, same = device.arbiter(), claim_id()
    for _ in range(2):
        assert isinstance(await mine.claim(VM, 4, "alpha", same), Won)
    assert device.asked() == ["action=off", "action=status"]


async def test_a_later_loss_needs_a_new_proof(device: Device) -> None:
    mine = device.arbiter()
    await mine.claim(VM, 4, "alpha", claim_id())
    await mine.claim(VM, 5, "alpha", claim_id())
    assert device.asked() == ["action=off", "action=status"] * 2


async def test_one_turns_it_off_for_all(device: Device) -> None:
    """The second waits, and then goes on by the proof of the first."""
    first, second, its_id = device.arbiter(delay_s=1), device.arbiter(), claim_id()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(first.claim, VM, 1, "alpha", claim_id())
        while not (device.folder / "state/beta.lock").exists():
            await trio.sleep(0.01)
        with pytest.raises(ArbiterUnreachable, match="host beta is being turned off for another VM"):
            await second.claim(OTHER_VM, 1, "alpha", its_id)
    assert isinstance(await second.claim(OTHER_VM, 1, "alpha", its_id), Won)
    assert device.asked() == ["action=off", "action=status"]


async def test_without_a_device_only_an_operators_word_counts(tmp_path: Path) -> None:
    mine, same = FencingArbiter(tmp_path, FencingSpec(peer="beta", device=None)), claim_id()
    Proof(tmp_path, "beta").write(now_ns())  # of an earlier time
    for _ in range(2):
        with pytest.raises(ArbiterUnreachable, match="make sure that host beta is off, then tell it here"):
            await mine.claim(VM, 1, "alpha", same)
    Proof(tmp_path, "beta").write(now_ns())
    assert isinstance(await mine.claim(VM, 1, "alpha", same), Won)


async def test_nothing_can_be_read(device: Device) -> None:
    with pytest.raises(ArbiterUnreachable, match="there is no arbiter"):
        await device.arbiter().read(VM)


async def test_a_start_goes_by_the_hosts_own_record(device: Device) -> None:
    state = device.folder / "state"
    await device.arbiter().claim(VM, 4, "alpha", claim_id())
    spec = ArbiterSpec(kind="none", directory=str(state), fencing=FencingSpec(peer="beta", device=None))
    record = await arbiter.make_for_start(spec).read(VM)
    assert record is not None
    assert (record.generation, record.holder) == (5, "alpha")
    assert isinstance(arbiter.make(spec), FencingArbiter)


@pytest.mark.parametrize("text", ["", "x", "boot", "boot -5", "boot 5 5", "boot \u0665", "\xff\xff"])
def test_what_makes_no_sense_proves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    monkeypatch.setattr(proof_module, "_boot_id", lambda: "boot")
    mine = Proof(tmp_path, "beta")
    mine.path.write_text(text)
    assert not mine.is_newer_than(0)
    mine.path.write_text("boot 5")
    assert mine.is_newer_than(5)
    assert not mine.is_newer_than(6)


def test_a_proof_from_before_a_reboot_counts_for_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mine = Proof(tmp_path, "beta")
    mine.write(now_ns())
    assert mine.is_newer_than(0)
    monkeypatch.setattr(proof_module, "_boot_id", lambda: "another")
    assert not mine.is_newer_than(0)
