"""Whether a guest's disk that was cut off has a sound file system."""

import re
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from lab.errors import LabError

COMMAND: Final = r"""
copy=$1.check
cp --sparse=always "$1" "$copy" || exit
e2fsck -y -E journal_only "$copy"; replayed=$?
e2fsck -f -n "$copy"; found=$?
rm "$copy"
echo "e2fsck: journal $replayed, check $found"
"""
"""A shell's text, for an image as its first argument: on a copy the journal is replayed as a mount would do
it; then everything is checked."""
_RESULT: Final = re.compile(r"^e2fsck: journal (\d+), check (\d+)$", re.MULTILINE)


@dataclass(frozen=True)
class Checked:
    """What e2fsck found. `clean`: the journal could be replayed, and nothing was wrong after that."""

    clean: bool
    said: str


def words(disk: str) -> list[str]:
    """The command that checks a disk, wherever it lies; `verdict` reads its output."""
    return ["sh", "-c", COMMAND, "sh", disk]


def verdict(output: str) -> Checked:
    """Judges the output of `words`. Raises LabError when the disk was not looked at."""
    found = _RESULT.search(output)
    # 127: there is no e2fsck. 8 and more: it could not do its work, or does not know its options.
    if found is None or max(int(found[1]), int(found[2])) >= 8:
        raise LabError(f"the file system was not checked: {output.strip()} (e2fsck is in e2fsprogs)")
    # 1: something was corrected, which replaying is.
    return Checked(int(found[1]) in (0, 1) and found[2] == "0", output)


def check(disk: Path) -> Checked:
    """Checks an ext4 image that lies here and is not in use. Raises LabError."""
    done = subprocess.run(
        words(str(disk)), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
    )
    return verdict(done.stdout)
