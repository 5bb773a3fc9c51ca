"""Which arbiter a worker gets, and what it carries for it."""

from __future__ import annotations

import subprocess
import sys

import msgspec
import pytest

from ftd.arbiter import make
from ftd.arbiter.etcd.arbiter import EtcdArbiter
from ftd.arbiter.local import LocalArbiter
from ftd.protocol.control import ArbiterSpec, EndpointSpec, EtcdSpec

ETCD = EtcdSpec(endpoints=[EndpointSpec(host="127.0.0.1", port=1)], prefix="/", timeout_ms=100)


def test_make_follows_the_spec() -> None:
    assert isinstance(make(ArbiterSpec(kind="local", directory="/nowhere")), LocalArbiter)
    assert isinstance(make(ArbiterSpec(kind="etcd", directory="/nowhere", etcd=ETCD)), EtcdArbiter)


@pytest.mark.parametrize(
    "spec",
    [
        {"kind": "zookeeper", "directory": "/nowhere"},
        {"kind": "etcd", "directory": "/nowhere"},
        {"kind": "local", "directory": "/nowhere", "etcd": ETCD},
    ],
)
def test_spec_of_no_arbiter_is_refused(spec: dict[str, object]) -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert(spec, ArbiterSpec)


def test_a_worker_with_lock_files_carries_no_http() -> None:
    script = (
        "import sys, ftd.worker.__main__, ftd.arbiter; from ftd.protocol.control import ArbiterSpec; "
        "ftd.arbiter.make(ArbiterSpec(kind='local', directory='/nowhere')); print('h11' in sys.modules)"
    )
    shown = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert shown.stdout.split() == ["False"]
