"""The kernel's own tests of dirty logging, unmodified, from the same source package as the modules."""

from pathlib import Path
from typing import Final

from lab import cache
from lab.kernel import tree
from lab.kernel.image import Image
from lab.selftests.run_list import Machine, Run

# Few iterations: emulation is slow, and it is modes that are to be compared, not endurance.
_MEMORY: Final = Machine(memory_mib=3072, boot=("hugepages=96",))
RUNS: Final = [
    *(
        Run(
            f"kernel/dirty_log_test/{mode}",
            "dirty_log_test",
            ("-M", mode, "-i", "3", "-I", "20"),
            _MEMORY,
            150,
        )
        for mode in ("dirty-log", "clear-log", "dirty-ring")
    ),
    Run("kernel/set_memory_region_test", "set_memory_region_test", timeout_s=150),
    Run("kernel/page_splitting_test", "dirty_log_page_splitting_test", ("-b", "64M"), _MEMORY, 150),
]
_SOURCES: Final = {
    "dirty_log_test": "dirty_log_test",
    "set_memory_region_test": "set_memory_region_test",
    "dirty_log_page_splitting_test": "x86_64/dirty_log_page_splitting_test",
}
_TREE: Final = "kernel-tests"


def build(image: Image) -> dict[str, Path]:
    """Builds them, static, against the headers of their own source. Raises LabError, MissingError."""
    source = tree.pristine(image)

    def make(part: Path) -> None:
        print(f"lab: building the kernel's own tests for {image.release}", flush=True)
        with cache.locked(tree.tree_lock(image, _TREE)):
            work = tree.patched(image, _TREE, [])
            tree.make(work, image, "headers")
            wanted = [part / path for path in _SOURCES.values()]
            tests = work / "tools/testing/selftests/kvm"
            flags = ("LDFLAGS=-pthread -static -no-pie", f"OUTPUT={part}")
            tree.make(work, image, "-C", tests, *flags, *wanted)

    built = cache.made_once(source.parent / f"{_TREE}-built", make)
    return {name: built / path for name, path in _SOURCES.items()}
