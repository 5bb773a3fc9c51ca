"""The entry for backports: made of the machine's own, in both of apt's formats, and only once."""

from pathlib import Path

import pytest

from lab.debian import backports
from lab.errors import MissingError

STANZA = """Types: deb
# a comment
URIs: http://mirror.invalid/debian
Suites: bookworm bookworm-updates
Components: main contrib
Signed-By: /keyring.gpg

Types: deb
URIs: http://mirror.invalid/debian-security
Suites: bookworm-security
Components: main
"""
LINE = "deb [signed-by=/keyring.gpg] http://mirror.invalid/debian bookworm main contrib\n"


@pytest.fixture
def lists(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "sources.list.d").mkdir()
    monkeypatch.setattr(backports, "LISTS", tmp_path)
    monkeypatch.setattr(backports, "codename", lambda: "bookworm")
    monkeypatch.setattr("os.geteuid", lambda: 0)
    return tmp_path


def test_from_a_stanza(lists: Path) -> None:
    (lists / "sources.list.d/debian.sources").write_text(STANZA)
    assert backports.add()
    made = (lists / "sources.list.d/ftd-backports.sources").read_text().splitlines()
    assert made == [
        "Types: deb",
        "URIs: http://mirror.invalid/debian",
        "Suites: bookworm-backports",
        "Components: main",
        "Signed-By: /keyring.gpg",
    ]
    assert not backports.add(), "there is one now"


def test_from_a_line(lists: Path) -> None:
    (lists / "sources.list").write_text(LINE)
    assert backports.add()
    made = (lists / "sources.list.d/ftd-backports.list").read_text()
    assert made == "deb [signed-by=/keyring.gpg] http://mirror.invalid/debian bookworm-backports main\n"
    assert not backports.add(), "there is one now"


def test_without_an_entry_to_derive_it_from(lists: Path) -> None:
    with pytest.raises(MissingError, match="has no entry for bookworm"):
        backports.add()
