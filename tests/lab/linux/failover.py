"""`python -m tests.lab.linux.failover VCPUS TRACKER`: a guest's clocks, before and after a kill."""

from __future__ import annotations

import argparse
import re
import time
from dataclasses import dataclass

from ftd.dataplane.core import Machine
from ftd.worker.news import POWERED_OFF
from tests.kvm.dataplane.pairs import Setup, protected, wait_until
from tests.lab.linux import session
from tests.lab.linux.session import Session

MIB = 1 << 20
PREFAULTED_PAGES_MIN = 1024
LINE = re.compile(r"clocks: (\d+) readings (\d+) steps (\d+) worst (\d+) mono (\d+) real (\d+)\n")


@dataclass(frozen=True)
class Reading:
    """A line of clocks.c."""

    number: int
    readings: int
    steps: int
    worst_ns: int
    monotonic_ns: int
    realtime_ns: int


def take(serial: Session) -> Reading:
    """The next line."""
    return Reading(*map(int, serial.expect(LINE.pattern).groups()))


def assert_forward(before: Reading, after: Reading) -> None:
    """No clock has stepped back, by the guest's own account nor between two lines."""
    assert after.number > before.number, (before, after)
    assert after.monotonic_ns > before.monotonic_ns, (before, after)
    assert after.realtime_ns > before.realtime_ns, (before, after)
    assert after.steps == 0, f"a clock has stepped back by {after.worst_ns} ns: {after}"


def wait_for_prefault(standby: Machine) -> None:
    """The standby's memory is being mapped before a guest runs in it; it need not be through."""
    wait_until(lambda: standby.counter("prefaulted_pages") >= PREFAULTED_PAGES_MIN, "memory is mapped")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("vcpus", type=int)
    parser.add_argument("tracker")
    parser.add_argument("--rate", type=int, default=20, help="checkpoints a second")
    parser.add_argument("--hops", type=int, default=2)
    chosen = parser.parse_args()
    setup = Setup(
        tracker=chosen.tracker,
        vcpus=chosen.vcpus,
        irqchip=True,
        memory_bytes=256 * MIB,
        epoch_pages_max=8192,
        rate_hz=chosen.rate,
        hot_pages_max=0 if chosen.tracker == "ring" else 1024,
    )
    machine = setup.machine()
    session.boot(machine)
    serial = Session(machine.serial_listen, "/tmp/serial")
    serial.log_in()
    assert session.unwell(serial.run("dmesg")) == []
    serial.send("clocks &")
    last = take(serial)
    for hop in range(chosen.hops):
        with protected(setup, machine, deadline_s=session.DEADLINE_S) as pair:
            pair.wait_for_epochs(20)
            for _ in range(3):
                now = take(serial)
                assert_forward(last, now)
                last = now
            wait_for_prefault(pair.passive)
            pair.active.kill()
            for seen in LINE.finditer(serial.read_to_end()):
                last = Reading(*map(int, seen.groups()))
            killed_s = time.monotonic()
            machine = pair.activate()
            serial = Session(machine.serial_listen, "/tmp/serial")
            for _ in range(4):
                now = take(serial)
                assert_forward(last, now)
                last = now
            print(f"\nhop {hop}: goes on after {time.monotonic() - killed_s:.3f} s", flush=True)
    serial.send("killall clocks")
    assert session.unwell(serial.run("dmesg")) == []
    assert serial.run("nproc").split()[-1] == str(chosen.vcpus)
    serial.send("poweroff -f")
    assert session.wait_stopped(machine).detail == POWERED_OFF
    machine.close()
    print("\nPASSED")


if __name__ == "__main__":
    main()
