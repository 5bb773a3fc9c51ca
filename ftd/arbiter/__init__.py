"""Arbiters: who may run a VM. ``contract`` says what each promises; ``make`` gives the one that a host is
configured for."""

from __future__ import annotations

from pathlib import Path

from ftd.arbiter.contract import Arbiter
from ftd.arbiter.local import LocalArbiter
from ftd.protocol.control import ArbiterSpec

__all__ = ["make"]


def make(spec: ArbiterSpec) -> Arbiter:
    """The arbiter that is described. Touches nothing yet: what is wrong shows with the first question."""
    if spec.etcd is None:
        return LocalArbiter(Path(spec.directory))
    # Only here: a worker that needs no HTTP does not carry it.
    from ftd.arbiter.etcd.arbiter import EtcdArbiter

    return EtcdArbiter(spec.etcd)
