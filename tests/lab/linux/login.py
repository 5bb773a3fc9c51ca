"""`python -m tests.lab.linux.login VCPUS`: boots, logs in on both consoles, looks around, ends the guest."""

from __future__ import annotations

import argparse

from ftd.vm.microvm import machine as microvm
from ftd.worker.news import POWERED_OFF, REBOOT_WANTED
from tests.lab.linux import session
from tests.lab.linux.session import Session

MIB = 1 << 20
ENDS = {"poweroff -f": POWERED_OFF, "reboot -f": REBOOT_WANTED}


def look_around(serial: Session, vcpus: int) -> None:
    """What Linux has made of the machine."""
    assert serial.run("nproc").split() == [str(vcpus)]
    assert "16550A" in serial.run("dmesg | grep ttyS0")
    assert serial.run("cat /sys/devices/system/clocksource/clocksource0/current_clocksource").split() == [
        "kvm-clock"
    ]
    assert serial.run("ls /sys/bus/virtio/devices").split() == ["virtio0"]
    topology = "cat /sys/devices/system/cpu/cpu*/topology"
    assert serial.run(f"{topology}/core_id").split() == [str(index) for index in range(vcpus)]
    assert serial.run(f"{topology}/thread_siblings_list").split() == [str(index) for index in range(vcpus)]
    assert serial.run(f"{topology}/physical_package_id").split() == ["0"] * vcpus
    flags = serial.run("grep -m1 flags /proc/cpuinfo").split()
    assert "hypervisor" in flags
    assert not {"vmx", "svm"} & set(flags)
    interrupts = serial.run("cat /proc/interrupts")
    (line,) = [line for line in interrupts.splitlines() if line.strip().startswith("4:")]
    assert "IO-APIC" in line
    assert "edge" in line


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("vcpus", type=int)
    parser.add_argument("--end", choices=ENDS, default="poweroff -f")
    chosen = parser.parse_args()
    machine = microvm.make(
        memory_bytes=256 * MIB, vcpus=chosen.vcpus, irqchip=True, tracker="auto", epoch_pages_max=4096
    )
    session.boot(machine)
    serial = Session(machine.serial_listen, "/tmp/serial")
    serial.log_in()
    look_around(serial, chosen.vcpus)
    console = Session(machine.console_listen, "/tmp/console")
    console.log_in()
    assert console.run("tty").split() == ["/dev/hvc0"]
    # More than the serial port's FIFO and more than one buffer of the console hold.
    for where in (serial, console):
        assert where.run(f"echo -n {'x' * 300} | wc -c").split() == ["300"]
        assert where.run("seq 1 2000").split() == [str(number) for number in range(1, 2001)]
    assert session.unwell(serial.run("dmesg")) == []
    serial.send(chosen.end)
    event = session.wait_stopped(machine)
    assert event.detail == ENDS[chosen.end], event
    machine.close()
    print("\nPASSED")


if __name__ == "__main__":
    main()
