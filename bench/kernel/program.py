"""Builds the measuring program and runs it: on a lab host with the patched modules, or here."""

import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import trio

from bench.model import NotMeasuredError
from lab.host.host import HostError
from lab.host.spec import Spec
from lab.kernel import image, modules
from lab.run import Outcome, run_on_host

SOURCE_DIR: Final = Path(__file__).resolve().parents[2] / "kernel-patches" / "bench"
PROGRAM: Final = "mt_bench"
MEMORY_MIB: Final = 6144
"""The guests share 4 GiB, of which they touch less than 1; the rest is room."""
TIMEOUT_S: Final = 3600
ATTEMPTS: Final = 3


def build(out_dir: Path) -> Path:
    """Compiles into `out_dir`. Raises CalledProcessError, after the compiler has said why."""
    subprocess.run(["make", "--silent", "-C", str(SOURCE_DIR), f"O={out_dir}"], check=True)
    return out_dir / PROGRAM


def run_here(program: Path, arguments: Sequence[str]) -> str:
    """What the program prints on this machine's own KVM. Raises NotMeasuredError."""
    done = subprocess.run([str(program), *arguments], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise NotMeasuredError(f"{PROGRAM} ended with {done.returncode}: {done.stderr.strip()}")
    return done.stdout


def run_in_lab(program: Path, arguments: Sequence[str], release: str | None) -> str:
    """What it prints on a lab host, all in one boot. Raises NotMeasuredError, LabError.

    Processors that are emulated at once make hosts die at random, so a boot that fails is tried again.
    """
    spec = Spec(
        modules=modules.build(image.find(release)),
        memory_mib=MEMORY_MIB,
        threads="multi",
        files={f"/{PROGRAM}": program},
    )
    reason = ""
    for _ in range(ATTEMPTS):
        try:
            outcome = _boot_and_run(spec, [f"/{PROGRAM}", *arguments])
        except HostError as error:
            reason = str(error)
            continue
        output = outcome.command.output.decode()
        if outcome.ok:
            return output
        said = [line for line in output.splitlines() if not line.startswith("{")]
        reason = "\n".join([f"{PROGRAM} ended with {outcome.command.status}", *said[-3:], *outcome.trouble])
    raise NotMeasuredError(f"{ATTEMPTS} boots failed, the last one so: {reason}")


def _boot_and_run(spec: Spec, command: Sequence[str]) -> Outcome:
    async def main() -> Outcome:
        return await run_on_host(spec, command, timeout_s=TIMEOUT_S)

    try:
        return trio.run(main)
    except* HostError as group:
        raise group.exceptions[0] from None
