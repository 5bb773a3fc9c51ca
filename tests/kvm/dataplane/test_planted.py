"""The comparisons see what they are there to see: each of these breaks the product, and must be found."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from tests.kvm.dataplane.planted import PlantedBuilds, run_scenario
from tests.kvm.trackers import needs


@dataclass(frozen=True)
class Plant:
    """Replaces `right` in a source by `wrong`; `scenario` must fail, saying `seen`."""

    name: str
    source: str
    right: str
    wrong: str
    scenario: str
    seen: str
    tracker: str = "bitmap"
    """That the scenario uses."""


PLANTS = [
    Plant(
        *("what the device model wrote is not sent", "steps.c"),
        "\ttake_marks(vm, &primary->harvested, reported);",
        "\tvm->marked_count = 0;",
        "console_traffic(pairs.Setup())",
        "pages differ",
    ),
    Plant(
        *("the page after a dirty one is overlooked", "tracker_bitmap.c"),
        "\t\t\tword &= word - 1;",
        "\t\t\tword &= word - 1, word &= word - 1;",
        "switch_over(pairs.Setup(), hops=8)",
        "pages differ",
    ),
    Plant(
        *("a vCPU's ring is forgotten", "tracker_ring.c"),
        "page_list_add(list, page);",
        "if (i == 0) page_list_add(list, page);",
        "switch_over(pairs.Setup(tracker='ring', vcpus=2))",
        "pages differ",
        "ring",
    ),
    Plant(
        *("a page that stays un-armed is reported once only", "tracker_mt.c"),
        "\t\t\topen->pages[kept++] = open->pages[i];",
        "\t\t\t(void)kept;",
        "switch_over(pairs.Setup(tracker='mt', hot_pages_max=64))",
        "pages differ",
        "mt",
    ),
    Plant(
        *("a hot page is not compared", "hotset.c"),
        "if (changed) {",
        "if (changed == 2) {",
        "switch_over(pairs.Setup(hot_pages_max=64))",
        "pages differ",
    ),
    Plant(
        *("a page's first line goes for all of them", "steps.c"),
        "from + (unsigned int)__builtin_ctzll(lines) * LINE_BYTES",
        "from + 0 * __builtin_ctzll(lines)",
        "switch_over(pairs.Setup(hot_pages_max=64))",
        "pages differ",
    ),
    Plant(
        *("registers are of an earlier epoch", "state.c"),
        "\tsection->regs = vcpu->run->s.regs.regs;",
        "\tif (!section->regs.rip) section->regs = vcpu->run->s.regs.regs;",
        "kill_at_random(pairs.Setup(), 1)",
        "a lost page",
    ),
    Plant(
        *("the last part alone is committed", "standby.c"),
        "for (uint32_t i = 0; i < standby->parts; i++)\n\t\timage_apply",
        "for (uint32_t i = standby->parts - 1; i < standby->parts; i++)\n\t\timage_apply",
        "switch_over(pairs.Setup(epoch_pages_max=64, parts_max=16, rate_hz=50))",
        "pages differ",
    ),
]


@pytest.fixture(scope="module")
def builds(tmp_path_factory: pytest.TempPathFactory) -> PlantedBuilds:
    return PlantedBuilds(tmp_path_factory.mktemp("planted"))


@pytest.mark.parametrize(
    "plant", [pytest.param(plant, marks=needs(plant.tracker), id=plant.name) for plant in PLANTS]
)
def test_planted_fault_is_seen(builds: PlantedBuilds, plant: Plant) -> None:
    done = run_scenario(builds.tree(plant.source, plant.right, plant.wrong), plant.scenario)
    assert done.returncode == 1, done.stderr[-3000:]
    assert "AssertionError" in done.stderr
    assert plant.seen in done.stderr, done.stderr[-3000:]


@pytest.mark.parametrize(
    "scenario",
    [
        pytest.param(scenario, marks=needs(tracker))
        for scenario, tracker in sorted({(plant.scenario, plant.tracker) for plant in PLANTS})
    ],
)
def test_without_a_fault_the_same_scenario_passes(scenario: str) -> None:
    done = run_scenario(None, scenario)
    assert done.returncode == 0, done.stderr[-3000:]
