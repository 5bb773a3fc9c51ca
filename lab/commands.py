"""Programs that are run to their end, at low priority: a build must not starve what it is built for."""

import os
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from lab.errors import LabError

OUTPUT_LINES_SHOWN: Final = 30


def run(
    command: Sequence[str | Path],
    *,
    what: str,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
    nice: bool = True,
) -> str:
    """Runs a program and returns what it printed.

    Raises LabError with `what` was tried and the end of the output when the program fails or does not exist.
    """
    words = [*(("nice", "-n", "10") if nice else ()), *map(str, command)]
    try:
        done = subprocess.run(
            words,
            cwd=cwd,
            env={**os.environ, "LC_ALL": "C", **(env or {})},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            check=False,
        )
    except FileNotFoundError as error:
        raise LabError(f"{what}: there is no program {error.filename}") from error
    if done.returncode != 0:
        tail = "\n".join(done.stdout.splitlines()[-OUTPUT_LINES_SHOWN:])
        raise LabError(f"{what}: {' '.join(map(str, command))} ended with {done.returncode}:\n{tail}")
    return done.stdout
