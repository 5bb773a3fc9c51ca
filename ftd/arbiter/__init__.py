"""Arbiters: who may run a VM. ``contract`` says what each promises; ``make`` gives the one that a host is
configured for."""

from __future__ import annotations

from pathlib import Path

from ftd.arbiter.contract import Arbiter
from ftd.arbiter.local import LocalArbiter
from ftd.protocol.control import ArbiterSpec

__all__ = ["make", "make_for_start"]


def make(spec: ArbiterSpec) -> Arbiter:
    """The arbiter that is described. Touches nothing yet: what is wrong shows with the first question."""
    if spec.fencing is not None:
        from ftd.arbiter.fencing.arbiter import FencingArbiter

        return FencingArbiter(Path(spec.directory), spec.fencing)
    if spec.etcd is None:
        return LocalArbiter(Path(spec.directory))
    # Only here: a worker that needs no HTTP does not carry it.
    from ftd.arbiter.etcd.arbiter import EtcdArbiter

    return EtcdArbiter(spec.etcd)


def make_for_start(spec: ArbiterSpec) -> Arbiter:
    """The one that a guest is started by. Without an arbiter that is this host's own record: that no other
    host has the guest, ftd has found out before."""
    if spec.fencing is not None:
        return LocalArbiter(Path(spec.directory))
    return make(spec)
