"""Cuts connections by rules of nftables, in a table of the drill's own that is removed as a whole."""

import shutil
from collections.abc import Iterable
from typing import Final

import trio

from ftd.errors import ControlError, ErrorKind
from ftd.protocol.control import EndpointSpec, LinkEnds

TABLE_PREFIX: Final = "ftd_drill_"
NFT_DEADLINE_S: Final = 10.0


def table_name(vm_id: bytes) -> str:
    """Of the table for one VM's drill."""
    return TABLE_PREFIX + vm_id.hex()[:12]


def cut_rules(table: str, link: Iterable[LinkEnds], *, outbound: bool, inbound: bool) -> str:
    """Drops exactly these connections, in the directions that are named. Text for `nft -f -`."""
    ends = list(link)
    out = [f"{_pair(end.here, end.there)} drop" for end in ends] if outbound else []
    into = [f"{_pair(end.there, end.here)} drop" for end in ends] if inbound else []
    return _table(table, out, into)


def silence_rules(table: str, servers: Iterable[EndpointSpec]) -> str:
    """Drops all that this host sends to these servers. Text for `nft -f -`."""
    return _table(table, [f"{_family(at)} daddr {at.host} tcp dport {at.port} drop" for at in servers], [])


def _pair(source: EndpointSpec, target: EndpointSpec) -> str:
    family = _family(source)
    addresses = f"{family} saddr {source.host} {family} daddr {target.host}"
    return f"{addresses} tcp sport {source.port} tcp dport {target.port}"


def _family(endpoint: EndpointSpec) -> str:
    return "ip6" if ":" in endpoint.host else "ip"


def _table(table: str, out: list[str], into: list[str]) -> str:
    """Added and deleted first, so that a table that an earlier drill left is replaced, not added to."""
    lines = [f"add table inet {table}", f"delete table inet {table}", f"table inet {table} {{"]
    for hook, rules in (("output", out), ("input", into)):
        if rules:
            lines.append(f"  chain {hook} {{ type filter hook {hook} priority 0; policy accept;")
            lines += [f"    {rule}" for rule in rules]
            lines.append("  }")
    return "\n".join([*lines, "}"]) + "\n"


async def check(rules: str) -> None:
    """Whether `apply` could, changing nothing. Raises ControlError."""
    await _nft(rules, "--check")


async def apply(rules: str) -> None:
    """From now on the rules hold. Raises ControlError; then nothing was changed."""
    await _nft(rules)


async def remove(table: str) -> None:
    """The rules of a table hold no more. Harmless when there is none. Raises ControlError."""
    await _nft(f"add table inet {table}\ndelete table inet {table}\n")


async def _nft(text: str, *options: str) -> None:
    program = shutil.which("nft", path="/usr/sbin:/sbin:/usr/bin:/bin")
    if program is None:
        message = "this fault needs nft, which is not installed: install the package nftables"
        raise ControlError(ErrorKind.CONFIG, message)
    with trio.move_on_after(NFT_DEADLINE_S):
        done = await trio.run_process(
            [program, *options, "-f", "-"],
            stdin=text.encode(),
            capture_stdout=True,
            capture_stderr=True,
            check=False,
        )
        if done.returncode:
            said = done.stderr.decode(errors="replace").strip().replace("\n", " ")[:300]
            message = f"nft refused the drill's rules: {said}. They take root with CAP_NET_ADMIN"
            raise ControlError(ErrorKind.PERMISSION, message)
        return
    raise ControlError(ErrorKind.TIMEOUT, f"nft did not end within {NFT_DEADLINE_S:g} s")
