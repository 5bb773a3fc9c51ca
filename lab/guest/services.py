"""What the guest's init runs, and on which ports it answers."""

from typing import Final

from lab.guest import programs

CHAIN_PORT: Final = 7000
"""Answers each line with a running number and hash (`inside/chain.c`)."""
SHELL_PORT: Final = 7001
"""A shell for whoever connects."""
REDIS_PORT: Final = 6379
"""The database; only with the disk."""
DATABASE: Final = "::respawn:/usr/bin/redis-server /etc/redis/redis.conf\n"
"""The line of inittab that only the disk's has."""


def files() -> dict[str, tuple[bytes, int]]:
    """What the guest's init needs, with and without the disk: path to contents and mode."""
    inside = programs.INSIDE
    return {
        "etc/inittab": ((inside / "inittab").read_bytes(), 0o644),
        "etc/rc": ((inside / "rc.sh").read_bytes(), 0o755),
        "etc/stop": ((inside / "stop.sh").read_bytes(), 0o755),
        "etc/console": ((inside / "console.sh").read_bytes(), 0o755),
        # No password: there is nothing to protect.
        "etc/passwd": (b"root::0:0:root:/root:/bin/sh\n", 0o644),
        "etc/group": (b"root:x:0:\n", 0o644),
    }
