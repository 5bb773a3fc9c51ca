"""The whole product with etcd in place of lock files: two daemons, a real guest, a cluster of three."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
import trio

from ftd.drill.demo_kvm import check
from tests.etcd.cluster import Cluster
from tests.failover.scene import playing

# Claims are repeated after 0.1, 0.2, 0.4 s: time for several of them.
OBSERVED_S = 1.5


@pytest.fixture(autouse=True)
def _kvm() -> None:
    missing = check()
    if missing is not None:
        pytest.skip(f"no usable KVM: {missing.why}")


def table(cluster: Cluster, prefix: str, *, timeout_ms: int = 3000) -> str:
    """`[arbiter]` of both hosts."""
    endpoints = json.dumps([str(member.endpoint) for member in cluster.members])
    return f'kind = "etcd"\nendpoints = {endpoints}\nprefix = "{prefix}"\ntimeout_ms = {timeout_ms}\n'


async def test_a_guest_survives_its_host_and_one_member(three: Cluster, prefix: str) -> None:
    """The first member asked is frozen as well, as on a host that has just died."""
    async with playing(arbiter_table=table(three, prefix)) as scene:
        scene.begin_asking()
        await scene.more_answers()
        three.members[0].freeze()
        await scene.kill_worker(scene.alpha)
        await scene.alone(scene.beta, 2)
        await scene.more_answers()
        await three.heal()
        await scene.protect(scene.beta)
        await scene.more_answers()
        await scene.settle(scene.beta)


async def test_without_a_majority_nobody_activates_until_there_is_one(three: Cluster, prefix: str) -> None:
    async with playing(arbiter_table=table(three, prefix, timeout_ms=500)) as scene:
        scene.begin_asking()
        await scene.more_answers()
        for member in three.members[1:]:
            member.kill()
        await scene.epochs_go_on(scene.alpha)
        await scene.kill_worker(scene.alpha)
        await scene.pair.wait_for_state(scene.beta, "failing_over")
        await scene.silence(OBSERVED_S)
        status = await scene.status(scene.beta)
        assert status.state == "failing_over"
        assert "the arbiter does not answer: claiming generation 2 in etcd: " in status.reason
        await three.heal()
        await scene.alone(scene.beta, 2)
        await scene.more_answers()
        await scene.settle(scene.beta)


async def test_check_asks_etcd(three: Cluster, prefix: str) -> None:
    async with playing(protected=False, arbiter_table=table(three, prefix, timeout_ms=500)) as scene:
        command = [sys.executable, "-m", "ftd", "--config", str(scene.alpha.config), "--check"]

        async def run() -> subprocess.CompletedProcess[bytes]:
            return await trio.run_process(command, capture_stdout=True, capture_stderr=True, check=False)

        good = await run()
        assert (good.returncode, good.stderr) == (0, b"")
        for member in three.members:
            member.kill()
        bad = await run()
        assert bad.returncode == 1
        assert (
            b"ftd.toml: the arbiter does not answer: reading the generation in etcd: 127.0.0.1:" in bad.stderr
        )
        assert b"no connection (Connection refused)" in bad.stderr
        assert b"Traceback" not in bad.stderr
