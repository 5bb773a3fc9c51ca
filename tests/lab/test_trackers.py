"""ftd on a host with the patched KVM: the same tests, and the demonstration, hold for every tracker."""

from __future__ import annotations

import pytest

from lab.cli_demo import DEADLINE_S, DEMONSTRATION, MEMORY_MIB
from lab.errors import MissingError
from lab.host.spec import Spec
from lab.kernel import image, modules
from lab.kernel.series import Variant
from lab.root.image import with_python
from lab.run import Outcome, run_on_host

# The others are tried on any machine with KVM as well; here it is that the patches leave them as they are.
TRACKERS = ("mt", *(pytest.param(tracker, marks=pytest.mark.long) for tracker in ("ring", "bitmap")))
# Emulated processors take turns: what takes a second elsewhere takes ten here, or fifty on a busy machine.
TEST_DEADLINE_S = 300
RUN_DEADLINE_S = 900
PYTEST = f"python -m pytest -q -p no:cacheprovider --timeout {TEST_DEADLINE_S} tests/kvm"
SHORT = (
    "by_hand or full_list or within_its_parts and 4-64-2 or lost_standby or signals and 2 "
    "or loses_no_page and 2-bare or byte_for_byte and 2-bare or device_writes and bare or different"
)
pytestmark = pytest.mark.timeout(RUN_DEADLINE_S + 200)


@pytest.fixture(scope="module")
def spec() -> Spec:
    """A host with the patched modules and Python. Skips where the machine lacks what that takes."""
    try:
        built = modules.build(image.find(None), Variant())
        return with_python(Spec(modules=built, memory_mib=MEMORY_MIB))
    except MissingError as error:
        pytest.skip(str(error))


def assert_well(outcome: Outcome) -> str:
    """The command's output, if it passed and the kernel has not complained."""
    output = outcome.command.output.decode(errors="replace")
    assert outcome.ok, f"status {outcome.command.status}, kernel: {outcome.trouble}\n{output[-6000:]}"
    return output


async def run_tests(spec: Spec, expression: str) -> str:
    """Some of tests/kvm. Raises AssertionError if one of them fails, is skipped or if there are none."""
    outcome = await run_on_host(spec, f"{PYTEST} -k '{expression}'", timeout_s=RUN_DEADLINE_S)
    output = assert_well(outcome)
    assert "skipped" not in output, output
    return output


@pytest.mark.parametrize("tracker", TRACKERS)
async def test_protection(spec: Spec, tracker: str) -> None:
    await run_tests(spec, f"{tracker} and ({SHORT})")


@pytest.mark.long
@pytest.mark.parametrize("tracker", ["mt", "ring", "bitmap"])
async def test_protection_in_full(spec: Spec, tracker: str) -> None:
    # Those that plant a fault compile all of the data plane; the demonstration has a test of its own.
    await run_tests(spec, f"{tracker} and (dataplane or cycle) and not planted and not allocates")


@pytest.mark.parametrize("tracker", TRACKERS)
async def test_the_guest_outlives_its_host(spec: Spec, tracker: str) -> None:
    outcome = await run_on_host(spec, ["python", "-c", DEMONSTRATION, tracker], timeout_s=DEADLINE_S)
    assert "The guest outlived its host" in assert_well(outcome)


async def test_trackers_at_once(spec: Spec) -> None:
    await run_tests(spec, "disturbs")
