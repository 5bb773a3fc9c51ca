"""Reading a guest's counters through another process's memfd; here the process is our own."""

import os
import struct

import pytest

from bench.guest_memory import COUNTERS_ADDRESS, LINE_BYTES, GuestMemory, Rounds
from bench.model import NotMeasuredError


def test_rounds_of_all_vcpus_are_added() -> None:
    fd = os.memfd_create("ftd-guest")
    try:
        os.truncate(fd, 1 << 20)
        for vcpu, rounds in enumerate((1000, 234)):
            os.pwrite(fd, struct.pack("<2Q", rounds, vcpu), COUNTERS_ADDRESS + LINE_BYTES * vcpu)
        with GuestMemory(os.getpid(), vcpus=2) as memory:
            assert memory.rounds().count == 1234
            assert memory.counter(1, 1) == 1
    finally:
        os.close(fd)


def test_process_without_a_guest_is_told() -> None:
    with pytest.raises(NotMeasuredError, match="holds no guest memory"):
        GuestMemory(os.getpid())


def test_rate_is_of_the_time_between_two_readings() -> None:
    assert Rounds(300, 2_500_000_000).per_second_since(Rounds(100, 2_000_000_000)) == 400
