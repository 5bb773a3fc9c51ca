"""The scenarios see what they are there to see: each of these breaks the product in one place."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.kvm.dataplane.planted import ROOT, PlantedBuilds

PLANTS = {
    "what is written is not logged": (
        "disk.c",
        "\t\tdisk_log_append(&disk->log, record, data);",
        "\t\t(void)record;",
    ),
    "a discard is not logged": (
        "disk.c",
        "discard ? DISK_DISCARD : DISK_ZEROES, range->",
        "DISK_FLUSH, 0 * range->",
    ),
    "writes during the first synchronisation are not seen": (
        "disk.c",
        "\t\tmark_blocks(disk->blocks, offset, length);",
        "\t\t(void)mark_blocks;",
    ),
    "writes while images are compared are not seen": (
        "disk_watch.c",
        "\tdisk_track(vm, &disk->watched);\n\tpthread",
        "\tdisk_detach(vm);\n\tpthread",
    ),
    "a block that differs is not sent": (
        "disk_watch.c",
        "words[i] & blocks_of_word(disk, first + i)",
        "words[i] & blocks_of_word(disk, first + i) & ~2ull",
    ),
    "old contents stay where the disk has a hole": (
        "disk_sync.c",
        "(uint32_t)part, DISK_DISCARD }",
        "1, DISK_DISCARD }",
    ),
    "an epoch's writes are not applied": (
        "standby.c",
        "standby_disk_apply(&standby->disk, last->extra_len)",
        "standby_disk_apply(&standby->disk, 0)",
    ),
    "a log belongs to a later epoch": (
        "steps.c",
        "\tdisk_seal(vm, &arena->disk);\n",
        "\tif (epoch % 64 == 0)\n\t\tdisk_seal(vm, &arena->disk);\n",
    ),
}


@pytest.fixture(scope="module")
def builds(tmp_path_factory: pytest.TempPathFactory) -> PlantedBuilds:
    return PlantedBuilds(tmp_path_factory.mktemp("planted"))


def run(tree: Path | None) -> subprocess.CompletedProcess[str]:
    paths = [str(path) for path in (tree, ROOT) if path]
    return subprocess.run(
        [sys.executable, "-P", "-c", "from tests.kvm.disk import scenarios; scenarios.several()"],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
        cwd=paths[0],
        capture_output=True,
        text=True,
        timeout=110,
        check=False,
    )


def test_nothing_is_seen_where_nothing_is_broken() -> None:
    done = run(None)
    assert done.returncode == 0, done.stderr[-3000:]


@pytest.mark.parametrize("name", PLANTS)
def test_planted_fault_is_seen(builds: PlantedBuilds, name: str) -> None:
    done = run(builds.tree(*PLANTS[name]))
    assert "AssertionError" in done.stderr, done.stderr[-2000:]
