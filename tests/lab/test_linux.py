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


@pytest.fixture(scope="module")
def host() -> Spec:
    """A host with the guest's files. Skips where the machine lacks what that takes."""
    try:
        found = image.find(None)
        built = modules.build(found, Variant())
        # One processor: docs/LAB.md, "One processor for guests with interrupts".
        return with_python(Spec(modules=built, cpus=1, memory_mib=2560, files=guest.files(found)))
    except MissingError as error:
        pytest.skip(str(error))


async def run(host: Spec, program: str) -> None:
    """A program of tests/lab/linux, which has to pass, on a host whose kernel stays well."""
    outcome = await run_on_host(host, f"python -m tests.lab.linux.{program}", timeout_s=RUN_DEADLINE_S)
    output = outcome.command.output.decode(errors="replace")
    assert outcome.ok, f"status {outcome.command.status}, kernel: {outcome.trouble}\n{output[-6000:]}"
    assert output.rstrip().endswith("PASSED")


async def test_login_and_power_off(host: Spec) -> None:
    await run(host, "login 1 --end 'poweroff -f'")


@pytest.mark.long
async def test_four_vcpus_and_reboot(host: Spec) -> None:
    await run(host, "login 4 --end 'reboot -f'")


@pytest.mark.long
async def test_eight_vcpus(host: Spec) -> None:
    await run(host, "login 8 --end 'poweroff -f'")


@pytest.mark.parametrize("tracker", ["mt", pytest.param("ring", marks=pytest.mark.long)])
async def test_clocks_go_on_after_a_kill(host: Spec, tracker: str) -> None:
    await run(host, f"failover 1 {tracker}")


@pytest.mark.long
async def test_clocks_of_four_vcpus_go_on_after_a_kill(host: Spec) -> None:
    await run(host, "failover 4 mt")
