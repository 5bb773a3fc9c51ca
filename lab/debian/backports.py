"""An entry for the suite of backports, derived from the machine's own entry for its release."""

import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

from lab.errors import MissingError

LISTS: Final = Path("/etc/apt")
ENTRY: Final = "ftd-backports"


def codename() -> str:
    """The release's name, such as `bookworm`. Raises MissingError where there is none."""
    for line in Path("/etc/os-release").read_text().splitlines():
        if line.startswith("VERSION_CODENAME="):
            return line.partition("=")[2].strip('"')
    raise MissingError("this is no Debian release: /etc/os-release has no VERSION_CODENAME")


def add() -> bool:
    """Writes the entry. False: there is one already.

    Raises MissingError when the machine has no entry to derive it from, or lacks the right to write it.
    """
    release = codename()
    files = {path: path.read_text() for path in _files()}
    texts = files.values()
    if any(_names_suite(text, f"{release}-backports") for text in texts):
        return False
    made = _from_stanzas(texts, release) or _from_lines(texts, release)
    if made is None:
        raise MissingError(f"{LISTS} has no entry for {release}, from which one for its backports is made")
    suffix, text = made
    if os.geteuid() != 0:
        raise MissingError(f"packages of {release}-backports are needed: as root, add that suite to {LISTS}")
    (LISTS / "sources.list.d" / f"{ENTRY}{suffix}").write_text(text)
    return True


def _files() -> Iterator[Path]:
    if (LISTS / "sources.list").is_file():
        yield LISTS / "sources.list"
    for pattern in ("*.list", "*.sources"):
        yield from sorted((LISTS / "sources.list.d").glob(pattern))


def _names_suite(text: str, suite: str) -> bool:
    return any(suite in line.split() for line in text.splitlines() if not line.startswith("#"))


def _from_stanzas(texts: Iterable[str], release: str) -> tuple[str, str] | None:
    for text in texts:
        for stanza in text.split("\n\n"):
            lines = [line for line in stanza.splitlines() if not line.startswith("#")]
            fields = {line.partition(":")[0]: line.partition(":")[2].split() for line in lines}
            if release in fields.get("Suites", []) and "deb" in fields.get("Types", []):
                fields |= {"Types": ["deb"], "Suites": [f"{release}-backports"], "Components": ["main"]}
                return ".sources", "".join(f"{name}: {' '.join(words)}\n" for name, words in fields.items())
    return None


def _from_lines(texts: Iterable[str], release: str) -> tuple[str, str] | None:
    for text in texts:
        for line in text.splitlines():
            words = line.split()
            if words[:1] == ["deb"] and release in words:
                before = words[: words.index(release)]
                return ".list", " ".join([*before, f"{release}-backports", "main"]) + "\n"
    return None
