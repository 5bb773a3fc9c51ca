"""Promise 3: no copy becomes active, or goes on alone, without a generation or an operator's word."""

import shutil
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Final

import pytest

from ftd.drill.local_pair import LocalHost, LocalPair
from ftd.errors import ControlError, ErrorKind
from ftd.protocol.control_operator import FAILOVER, ForceParams
from tests.failover.scene import Scene, eventually, playing

# Claims are repeated after 0.1, 0.2, 0.4 s: time for several of them.
OBSERVED_S: Final = 1.5
RACES: Final = 4


@contextmanager
def unreachable(pair: LocalPair) -> Iterator[None]:
    """The arbiter's directory is away while in the block, as a file system that is not mounted."""
    away = pair.arbiter.with_name("arbiter.away")
    pair.arbiter.rename(away)
    try:
        yield
    finally:
        away.rename(pair.arbiter)


async def held(scene: Scene, host: LocalHost) -> None:
    """`host` wants the guest, cannot ask, and so runs nothing for a while."""
    await scene.pair.wait_for_state(host, "failing_over")
    await scene.silence(OBSERVED_S)
    assert (await scene.status(host)).state == "failing_over"
    assert await scene.runners() == []


async def test_a_standby_does_not_activate_without_the_arbiter() -> None:
    """Unreachable is no answer. When the arbiter is back, the standby activates, with nothing lost."""
    async with playing() as scene:
        scene.begin_asking()
        await scene.more_answers()
        with unreachable(scene.pair):
            await scene.kill_worker(scene.alpha)
            await held(scene, scene.beta)
        await scene.alone(scene.beta, 2)
        await scene.more_answers()
        await scene.settle(scene.beta)


async def test_a_primary_does_not_go_on_alone_without_the_arbiter() -> None:
    """It lost its standby: the guest is held, and goes on where it stood when the arbiter is back."""
    async with playing() as scene:
        scene.begin_asking()
        await scene.more_answers()
        with unreachable(scene.pair):
            await scene.kill_worker(scene.beta)
            await held(scene, scene.alpha)
        await scene.alone(scene.alpha, 2)
        await scene.more_answers()
        await scene.settle(scene.alpha)


async def test_an_operator_may_answer_for_the_arbiter() -> None:
    """`failover --force`: the guest runs without a recorded generation, which is recorded when it can be."""
    async with playing() as scene:
        scene.begin_asking()
        await scene.more_answers()
        with unreachable(scene.pair):
            await scene.kill_worker(scene.alpha)
            await held(scene, scene.beta)
            await scene.beta.call(FAILOVER, ForceParams(vm=scene.vm, force=True))
            await scene.alone(scene.beta, 2)
            await scene.more_answers()

        async def recorded() -> bool:
            return any('"beta"' in path.read_text() for path in scene.pair.arbiter.glob("*.json"))

        await eventually("a record of beta's generation", recorded)
        await scene.more_answers()
        await scene.settle(scene.beta)


async def test_without_force_an_operator_changes_nothing_then() -> None:
    """The primary lives, the arbiter does not answer: the request fails, and protection goes on."""
    async with playing() as scene:
        scene.begin_asking()
        await scene.more_answers()
        with unreachable(scene.pair), pytest.raises(ControlError, match="nothing was changed") as refused:
            await scene.beta.call(FAILOVER, ForceParams(vm=scene.vm))
        assert refused.value.kind is ErrorKind.ARBITER
        assert (await scene.status(scene.alpha)).state == "protected"
        assert (await scene.status(scene.beta)).state == "standby"
        await scene.epochs_go_on(scene.alpha)
        await scene.more_answers()
        await scene.settle(scene.alpha)


@pytest.mark.usefixtures("_ss")
async def test_both_lose_the_pair_at_once() -> None:
    """Connections break while both hosts live: both ask, one wins, the other ends without a trace outside."""
    async with playing() as scene:
        scene.begin_asking()
        active, generation = scene.alpha, 1
        for race in range(RACES):
            await scene.more_answers()
            breaker = scene.pair.hosts[race % 2]
            pids = {host.name: await host.worker_pid(scene.vm) for host in scene.pair.hosts}
            break_connections(pids[breaker.name])
            await eventually("one worker only", partial(one_is_left, scene, pids))
            generation += 1
            [name] = await scene.runners()
            active = scene.alpha if name == "alpha" else scene.beta
            print(f"race {race}: {breaker.name}'s end broken, {name} won")
            await scene.alone(active, generation)
            await scene.more_answers()
            await scene.protect(active)
        await scene.settle(active)


async def one_is_left(scene: Scene, pids: dict[str, int]) -> bool:
    """One of the two workers has ended, the other runs the guest."""
    found = [await host.status(scene.vm) for host in scene.pair.hosts]
    alive = [status for status in found if status is not None]
    assert all(status.pid == pids[status.host] for status in alive)
    return len(alive) == 1 and alive[0].state == "simplex"


def break_connections(pid: int) -> None:
    """Aborts a worker's TCP connections, its pair: this end gets an error, that end a reset, at once."""
    lines = ss("-tnpH", "state", "established").splitlines()
    addresses = [line.split()[2] for line in lines if f"pid={pid}," in line]
    assert len(addresses) == 2, lines
    assert abort(addresses), "nothing was closed"


def abort(addresses: list[str]) -> str:
    """Says which connections from these local addresses were aborted."""
    return ss("-K", "-tnH", " or ".join(f"src {address}" for address in addresses))


def ss(*arguments: str) -> str:
    """What ss(8) says."""
    return subprocess.run(["ss", *arguments], capture_output=True, text=True, check=True).stdout


@pytest.fixture
def _ss() -> None:
    """Skips where connections cannot be broken from outside: tried on one of our own."""
    if shutil.which("ss") is None:
        pytest.skip("there is no ss(8)")
    with (
        socket.create_server(("127.0.0.1", 0)) as server,
        socket.create_connection(server.getsockname()) as connection,
    ):
        host, port = connection.getsockname()
        if not abort([f"{host}:{port}"]):
            pytest.skip("ss cannot abort connections (CAP_NET_ADMIN, CONFIG_INET_DIAG_DESTROY)")
