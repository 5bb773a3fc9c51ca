"""Which of this machine's files make a root: those of some packages and of all that they depend on."""

import re
import subprocess
from pathlib import Path
from typing import Final

from lab.debian import packages

# Those that Debian calls essential are named as well: packages do not say that they depend on them.
PACKAGES: Final = (
    *("bash", "coreutils", "dash", "diffutils", "findutils", "grep", "hostname", "libc-bin", "sed", "tar"),
    *("util-linux", "procps", "iproute2", "kmod", "python3", "python3-venv"),
    *("iputils-ping", "nftables", "socat"),
    # Tests compile what they preload into the product.
    *("gcc", "binutils", "libc6-dev"),
)
# Files that no package owns, or that its installation wrote.
_MADE: Final = ("/etc/passwd", "/etc/group", "/etc/nsswitch.conf", "/etc/hosts", "/etc/ld.so.cache")
_NOT_NEEDED: Final = re.compile(
    r"/usr/share/(doc|man|locale|info|lintian|bug|perl)/.*|/etc/(init\.d|cron\.).*"
)


def closure() -> list[tuple[str, str]]:
    """Names and versions of the packages, with all that they depend on, sorted. Raises MissingError."""
    packages.require(PACKAGES, why="a root with Python for a host of the lab")
    versions, depends, providers = _installed()
    found: set[str] = set()
    left = list(PACKAGES)
    while left:
        name = left.pop()
        for real in [name] if name in versions else providers.get(name, [])[:1]:
            if real not in found:
                found.add(real)
                left += depends[real]
    return sorted((name, versions[name]) for name in found)


def files(names: list[str]) -> list[str]:
    """The paths of the packages' files and folders, as they are on disk, sorted."""
    listed = subprocess.run(["dpkg-query", "--listfiles", *names], capture_output=True, text=True, check=True)
    found = set(_MADE)
    for line in listed.stdout.splitlines():
        path = Path(line)
        if line.startswith("/") and not _NOT_NEEDED.fullmatch(line):
            # /lib and its like are links into /usr: a path is taken where it really is.
            found.add(str(Path(path.parent).resolve() / path.name) if line != "/." else "/")
    found |= {str(link) for link in (Path("/bin"), Path("/lib"), Path("/lib64"), Path("/sbin"))}
    # Compiled when the package was installed: to compile them inside takes most of a program's start.
    found |= {str(path) for path in Path("/usr/lib").glob("python3*/**/*.pyc")}
    found |= {str(link) for link in Path("/etc/alternatives").iterdir()}
    links = (path for path in Path("/usr/bin").iterdir() if path.is_symlink())
    found |= {str(link) for link in links if str(link.readlink()).startswith("/etc/alternatives/")}
    return sorted(path for path in found if Path(path).exists() or Path(path).is_symlink())


def _installed() -> tuple[dict[str, str], dict[str, list[str]], dict[str, list[str]]]:
    fields = ("Package", "db:Status-Status", "Version", "Depends", "Pre-Depends", "Provides")
    form = "\t".join(f"${{{field}}}" for field in fields) + "\n"
    listed = subprocess.run(
        ["dpkg-query", "--show", f"--showformat={form}"], capture_output=True, text=True, check=True
    )
    versions: dict[str, str] = {}
    depends: dict[str, list[str]] = {}
    providers: dict[str, list[str]] = {}
    for line in listed.stdout.splitlines():
        name, status, version, needs, needs_before, provides = line.split("\t")
        if status != "installed":
            continue
        versions[name] = version
        depends[name] = _names(f"{needs},{needs_before}")
        for virtual in _names(provides):
            providers.setdefault(virtual, []).append(name)
    return versions, depends, providers


def _names(field: str) -> list[str]:
    """All names in a list of dependencies; of alternatives as well: those that are not installed drop out."""
    words = re.split(r"[,|]", field)
    return [name for word in words if (name := word.strip().partition(" ")[0].partition(":")[0])]
