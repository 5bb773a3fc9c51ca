"""Both hosts, on networks of their own, with an arbiter: booted, and gone at the end whatever happens."""

import compileall
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import ExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

import trio

from lab.commands import run
from lab.debian import packages
from lab.errors import LabError
from lab.host.spec import Spec
from lab.kernel.modules import Modules
from lab.kernel.series import ROOT
from lab.pair import etcd, folder
from lab.pair.configuration import Configuration
from lab.pair.member import INSIDE, START, Member
from lab.pair.network import HOSTS, NETWORKS, Networks
from lab.root.image import with_python

# Bridges and taps for guests, what slows a network, what filters it.
MODULES: Final = ("bridge", "tun", "veth", "sch_netem", "sch_prio", "cls_u32", "nf_tables", "nft_meta_bridge")
COPIED: Final = ("ftd", "config", "pyproject.toml")


@dataclass(frozen=True)
class PairSpec:
    """Two hosts before they are started, equal but for what beta lacks."""

    modules: Modules
    configuration: Configuration = field(default_factory=Configuration)
    cpus: int = 1
    """Several processors of one host take turns of 100 ms: heartbeats would wait for their turn."""
    memory_mib: int = 1536
    state_disk_mib: int = 0
    """Of a disk that is each host's /var/lib and survives its power loss; 0: /var/lib is new at each boot."""
    files: Mapping[str, Path] = field(default_factory=dict)
    """Copied into both: path inside to file or folder here."""
    beta_lacks: tuple[str, ...] = ()
    """Features of the processor (`Spec.lacks`)."""


class Pair:
    """Made by `running`."""

    def __init__(
        self, networks: Networks, members: list[Member], arbiter: etcd.Arbiter, folder_: Path
    ) -> None:
        self.networks = networks
        self._arbiter = arbiter
        self.alpha, self.beta = members
        self.folder = folder_

    @property
    def members(self) -> tuple[Member, Member]:
        return self.alpha, self.beta

    def member(self, name: str) -> Member:
        """By its name. Raises LabError for a name that is none."""
        for member in self.members:
            if member.name == name:
                return member
        raise LabError(f"there is no host {name}: {' and '.join(HOSTS)} are")

    def peer_of(self, member: Member) -> Member:
        """The other one."""
        return self.beta if member is self.alpha else self.alpha

    async def boot(self) -> None:
        """Those of them that do not run, both at once; the arbiter answers as well."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._arbiter.wait_ready)
            for member in self.members:
                if member.state == "dead":
                    nursery.start_soon(member.boot)

    async def logs(self) -> str:
        """Of both, for a person."""
        return "\n".join([await member.logs() for member in self.members])


@contextmanager
def prepared(spec: PairSpec) -> Iterator[Pair]:
    """Networks and arbiter are there, hosts are not booted yet. All is gone at the end, whatever happens.

    To be entered from the main thread. Raises MissingError, LabError.
    """
    packages.require(["iproute2", "nftables", "util-linux"], why="a pair of hosts")
    base = _base(spec)
    with ExitStack() as stack:
        place = stack.enter_context(folder.owned())
        networks = Networks(place.name)
        networks.make()
        arbiter = etcd.Arbiter(networks, place)
        stack.callback(arbiter.close)
        members = [Member(_host(spec, base, name, place), networks) for name in HOSTS]
        for member in members:
            stack.callback(member.close)
        yield Pair(networks, members, arbiter, place)


@asynccontextmanager
async def running(spec: PairSpec) -> AsyncIterator[Pair]:
    """Both hosts run ftd. Otherwise as `prepared`; raises HostError as well."""
    with prepared(spec) as pair:
        await pair.boot()
        yield pair


def _base(spec: PairSpec) -> Spec:
    # A host that had to compile would need seconds for it.
    compileall.compile_dir(ROOT / "ftd", quiet=2)
    base = Spec(
        spec.modules, cpus=spec.cpus, memory_mib=spec.memory_mib, files=spec.files, more_modules=MODULES
    )
    return with_python(base, COPIED)


def _host(spec: PairSpec, base: Spec, name: str, place: Path) -> Spec:
    files = spec.configuration.write(name, place / name)
    disk = place / f"{name}.disk" if spec.state_disk_mib else None
    if disk is not None:
        run(["mke2fs", "-q", "-t", "ext4", disk, f"{spec.state_disk_mib}M"], what=f"making {name}'s disk")
    return replace(
        base,
        name=name,
        files={**base.files, **files, INSIDE: START},
        namespace=place.name,
        nics=tuple(network.nic(name) for network in NETWORKS),
        state_disk=disk,
        shell_socket=place / f"{name}.shell",
        lacks=spec.beta_lacks if name == HOSTS[1] else (),
    )
