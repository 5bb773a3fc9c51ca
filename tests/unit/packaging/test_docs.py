"""What operators can set, type and see stands in the documents, and their links lead somewhere."""

import re
from pathlib import Path

import click
import msgspec
import pytest

from ftd import config_schema
from ftd.ctl.main import main
from ftd.replication.states import ActiveState, StandbyState
from ftd.worker.status import shown_state

ROOT = Path(__file__).parents[3]
OPERATING = (ROOT / "docs/OPERATING.md").read_text()
DOCUMENTS = [ROOT / "README.md", ROOT / "kernel-patches/README.md", *sorted((ROOT / "docs").glob("*.md"))]


def keys() -> list[str]:
    """Every key, as the tables write it."""
    plain: list[type[msgspec.Struct]] = [
        config_schema.HostFile,
        config_schema.VmFile,
        config_schema.ReplicationSection,
    ]
    prefixed: dict[str, type[msgspec.Struct]] = {
        "host": config_schema.HostSection,
        "peers.NAME": config_schema.PeerSection,
        "arbiter": config_schema.ArbiterSection,
        "log": config_schema.LogSection,
        "guest": config_schema.GuestSection,
        "console": config_schema.ConsoleSection,
        "net": config_schema.NetSection,
        "disk": config_schema.DiskSection,
        "serial": config_schema.SerialSection,
    }
    sections = {"host", "peers", "arbiter", "log", "guest", "console", "net", "disk", "serial"}
    found = [field.name for kind in plain for field in msgspec.structs.fields(kind)]
    found = ["[replication]" if name == "replication" else name for name in found if name not in sections]
    return found + [
        f"{section}.{field.name}"
        for section, kind in prefixed.items()
        for field in msgspec.structs.fields(kind)
    ]


@pytest.mark.parametrize("key", sorted(set(keys())))
def test_every_key_is_described(key: str) -> None:
    assert f"| `{key}` |" in OPERATING


def test_defaults_of_replication_are_those_of_the_table() -> None:
    for field in msgspec.structs.fields(config_schema.ReplicationSection):
        default = msgspec.json.encode(field.default).decode()
        assert f"| `{field.name}` | {default} |" in OPERATING


def commands(group: click.Group, prefix: str = "") -> list[tuple[str, click.Command]]:
    found: list[tuple[str, click.Command]] = []
    for name, command in sorted(group.commands.items()):
        if isinstance(command, click.Group):
            found += commands(command, f"{prefix}{name} ")
        else:
            found.append((prefix + name, command))
    return found


@pytest.mark.parametrize(("name", "command"), commands(main))
def test_every_command_and_option_is_described(name: str, command: click.Command) -> None:
    (row,) = re.findall(rf"^\| `{re.escape(name)}[ `].*$", OPERATING, re.MULTILINE)
    for parameter in command.params:
        if isinstance(parameter, click.Option):
            assert parameter.opts[0] in row


def test_every_state_that_is_shown_is_described() -> None:
    rows = re.findall(r"^\| ([a-z_, ]+) \| (?:active|standby) \|", OPERATING, re.MULTILINE)
    described = {name.strip() for row in rows for name in row.split(",")}
    shown = {shown_state(state) for states in (ActiveState, StandbyState) for state in states}
    assert shown <= described


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_links_lead_somewhere(document: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)\)", document.read_text()):
        if "://" not in target:
            assert (document.parent / target).exists(), f"{document.name}: {target}"
