"""The simulated world itself: what it does to bytes, files and time is what it says."""

from __future__ import annotations

import pytest

from tests.sim.checkers import Checkers, Checkpoint, PromiseBroken
from tests.sim.clockwork import MS, SECOND, Clockwork
from tests.sim.disk import Disk, SimPath
from tests.sim.history import History
from tests.sim.network import End, Network, Socket
from tests.sim.process import Host, Lane, Process


class Pair:
    """A process on each of two hosts, and a connection between them."""

    def __init__(self) -> None:
        self.clockwork = Clockwork(1)
        self.network = Network(self.clockwork)
        self.disk = Disk(self.clockwork)
        self.failures: list[BaseException] = []
        hosts = [Host(self.clockwork, self.network, name) for name in ("alpha", "beta")]
        self.near, self.far = (Process(host, self.disk, self.failures.append) for host in hosts)

    def connect(self) -> tuple[Socket, Socket]:
        return self.network.connect(self.near, self.far, "data")

    def wait(self, ms: int) -> None:
        self.clockwork.run(self.clockwork.now_us + ms * MS)


def test_bytes_arrive_in_order_and_what_a_cut_holds_up_arrives_when_it_heals() -> None:
    pair = Pair()
    near, far = pair.connect()
    way = ("alpha", "beta", "data")
    near.send(b"one ")
    pair.wait(5)
    pair.network.set_cut(way, 1)
    near.send(b"two ")
    near.send(b"three")
    pair.wait(50)
    assert far.inbox == b"one "
    pair.network.set_cut(way, -1)
    pair.wait(50)
    assert far.inbox == b"one two three"


def test_killed_process_closes_its_connection_and_a_dead_host_does_not() -> None:
    pair = Pair()
    near, _ = pair.connect()
    pair.far.end()
    pair.wait(5)
    assert near.end is End.CLOSED
    pair = Pair()
    near, _ = pair.connect()
    pair.far.end(power_lost=True)
    pair.wait(50)
    assert near.end is None


def test_connection_with_something_unread_is_reset() -> None:
    pair = Pair()
    near, _ = pair.connect()
    near.send(b"nobody reads this")
    pair.wait(5)
    pair.far.end()
    pair.wait(5)
    assert near.end is End.RESET


def test_stopped_process_does_what_came_due_when_it_goes_on() -> None:
    pair, done = Pair(), []
    pair.near.later(10 * MS, lambda: done.append("io"), Lane.IO)
    pair.near.stop()
    pair.wait(100)
    assert not done
    pair.near.go_on()
    pair.wait(5)
    assert done == ["io"]


def test_busy_interpreter_holds_back_nothing_but_python() -> None:
    pair, done = Pair(), []
    pair.near.hold_interpreter()
    pair.near.soon(lambda: done.append("python"), Lane.INTERPRETER)
    pair.near.soon(lambda: done.append("heartbeat"), Lane.HEARTBEAT)
    pair.wait(100)
    assert done == ["heartbeat"]
    pair.near.free_interpreter()
    pair.wait(5)
    assert done == ["heartbeat", "python"]


@pytest.mark.parametrize("synced", [True, False])
def test_loss_of_power_tears_what_was_not_synced(synced: bool) -> None:
    whole = 0
    for seed in range(50):
        disk = Disk(Clockwork(seed))
        host = Host(disk.clockwork, Network(disk.clockwork), "alpha")
        disk.acting = host
        disk.write("record.new", b"a record")
        if synced:
            disk.sync("record.new")
        SimPath(disk, "record.new").rename(SimPath(disk, "record"))
        disk.sync("")
        disk.power_lost(host)
        whole += disk.files["record"] == b"a record"
    assert (whole == 50) is synced


def test_clocks_drift_apart_and_setting_the_time_of_day_does_not_move_boottime() -> None:
    pair = Pair()
    hosts = (pair.near.host, pair.far.host)
    begin = [host.boottime_us() for host in hosts]
    pair.clockwork.run(100 * SECOND)
    passed = [host.boottime_us() - began for host, began in zip(hosts, begin, strict=True)]
    assert passed[0] != passed[1]
    assert all(abs(us - 100 * SECOND) < SECOND for us in passed)
    before = hosts[0].boottime_us()
    hosts[0].wall_offset_us += 3600 * SECOND
    assert hosts[0].boottime_us() == before


def checkers() -> tuple[Checkers, History]:
    history = History()
    return Checkers(history), history


def test_checkers_want_one_line_of_history() -> None:
    judge, history = checkers()
    one = history.step(0)
    two, other = history.step(one), history.step(one)
    judge.seen("alpha.1", 1, one)
    judge.seen("alpha.1", 1, two)
    with pytest.raises(PromiseBroken, match="does not follow"):
        judge.seen("beta.2", 2, other)


def test_checkers_want_one_copy_in_a_generation() -> None:
    judge, history = checkers()
    one = history.step(0)
    judge.seen("alpha.1", 1, one)
    with pytest.raises(PromiseBroken, match="visible in generation 1"):
        judge.seen("beta.2", 1, history.step(one))


@pytest.mark.parametrize(
    ("epoch", "node", "memory", "match"),
    [
        (3, 1, b"a", "never sealed"),
        (2, 1, b"b", "something else"),
        (1, 1, b"a", "but 2 was acknowledged"),
    ],
)
def test_checkers_want_the_newest_acknowledged_epoch_whole(
    epoch: int, node: int, memory: bytes, match: str
) -> None:
    judge, history = checkers()
    history.step(0)
    for sealed in (1, 2):
        judge.sealed(7, sealed, Checkpoint(1, (b"a",)))
    judge.acknowledged(7, 2)
    with pytest.raises(PromiseBroken, match=match):
        judge.activated("beta.2", 7, epoch, Checkpoint(node, (memory,)))


def test_checkers_want_a_cause_for_a_failover() -> None:
    judge, _ = checkers()
    judge.newest_pair = lambda: 7
    judge.acknowledged(7, 1)
    with pytest.raises(PromiseBroken, match="nothing had happened"):
        judge.peer_lost("alpha.1", 7, "silent")
    judge.acknowledged(7, 2)
    judge.disturbance_began()
    judge.peer_lost("alpha.1", 7, "silent")
