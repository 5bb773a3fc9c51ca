"""An unmodified Debian kernel in the microvm: boots, is used, ends itself, and outlives its machine."""

from __future__ import annotations

import pytest

from lab.errors import MissingError
from lab.host.spec import Spec
from lab.kernel import image, modules
from lab.kernel.series import Variant
from lab.root.image import with_python
from lab.run import run_on_host
from tests.lab.linux import image as guest

RUN_DEADLINE_S = 1500
pytestmark = [pytest.mark.lab, pytest.mark.timeout(RUN_DEADLINE_S + 300)]


def host(cpus: int) -> Spec:
    """A host with the guest's files. Skips where the machine lacks what that takes."""
    try:
        found = image.find(None)
        spec = Spec(
            modules=modules.build(found, Variant()), cpus=cpus, memory_mib=2560, files=guest.files(found)
        )
        return with_python(spec)
    except MissingError as error:
        pytest.skip(str(error))


async def run(cpus: int, program: str) -> str:
    """A program of tests/lab/linux on a host of its own; its output, once it has passed."""
    outcome = await run_on_host(host(cpus), f"python -m tests.lab.linux.{program}", timeout_s=RUN_DEADLINE_S)
    output = outcome.command.output.decode(errors="replace")
    assert outcome.ok, f"status {outcome.command.status}, kernel: {outcome.trouble}\n{output[-6000:]}"
    assert output.rstrip().endswith("PASSED")
    return output


async def test_login_and_power_off() -> None:
    await run(2, "login 1 --end 'poweroff -f'")


async def test_four_vcpus_and_reboot() -> None:
    await run(4, "login 4 --end 'reboot -f'")


@pytest.mark.long
async def test_eight_vcpus() -> None:
    await run(4, "login 8 --end 'poweroff -f'")


@pytest.mark.parametrize("tracker", ["mt", "ring"])
async def test_clocks_go_on_after_a_kill(tracker: str) -> None:
    await run(2, f"failover 1 {tracker}")


async def test_clocks_of_four_vcpus_go_on_after_a_kill() -> None:
    await run(4, "failover 4 mt")
