"""A cluster of three of which one or two are away, by every way there is."""

from __future__ import annotations

import time

import pytest

from ftd.arbiter.contract import Arbiter, ArbiterUnreachable, Lost, Record, Won
from tests.etcd.cluster import Cluster

VM = "4f4c1f3a-1f7d-4d0e-9d57-6f2f0d3c9a10"
ALPHA_CLAIM = b"alpha claims it."
BETA_CLAIM = b"beta claims it.."
ALPHAS = Record(VM, 1, "alpha", ALPHA_CLAIM)
# A leader that is away is noticed after 0.5 to 1 s, on a machine that is not busy; then there is an election.
ELECTION_MS = 15_000
LATE_S = 0.5


async def assert_unreachable(arbiter: Arbiter, timeout_ms: int, why: str) -> None:
    began = time.monotonic()
    with pytest.raises(ArbiterUnreachable, match=why):
        await arbiter.claim(VM, 1, "beta", BETA_CLAIM)
    assert time.monotonic() - began < timeout_ms / 1000 + LATE_S


async def test_members_agree_whoever_is_asked(three: Cluster, prefix: str) -> None:
    first, second, third = three.members
    assert await three.arbiter(prefix, [first]).claim(VM, 0, "alpha", ALPHA_CLAIM) == Won(ALPHAS)
    assert await three.arbiter(prefix, [second]).read(VM) == ALPHAS
    assert await three.arbiter(prefix, [third]).claim(VM, 0, "beta", BETA_CLAIM) == Lost(ALPHAS)


async def test_a_follower_is_dead_or_frozen(three: Cluster, prefix: str) -> None:
    first, second = await three.followers()
    everybody = [first, second, *(member for member in three.members if member not in (first, second))]
    first.kill()
    assert await three.arbiter(prefix, everybody).claim(VM, 0, "alpha", ALPHA_CLAIM) == Won(ALPHAS)
    await three.heal()
    second.freeze()
    arbiter = three.arbiter(prefix, [second, first, everybody[2]])
    assert await arbiter.claim(VM, 0, "beta", BETA_CLAIM) == Lost(ALPHAS)
    await assert_unreachable(three.arbiter(prefix, [second], timeout_ms=500), 500, "no answer within 500 ms")


@pytest.mark.parametrize("how", ["kill", "freeze"])
async def test_the_leader_is_away(three: Cluster, prefix: str, how: str) -> None:
    """The claim is answered within its time, by the others, as soon as they have a leader."""
    await three.arbiter(prefix).claim(VM, 0, "alpha", ALPHA_CLAIM)
    leader = await three.leader()
    others = [member for member in three.members if member is not leader]
    getattr(leader, how)()
    arbiter = three.arbiter(prefix, [leader, *others], timeout_ms=ELECTION_MS)
    assert await arbiter.claim(VM, 1, "beta", BETA_CLAIM) == Won(Record(VM, 2, "beta", BETA_CLAIM))


async def test_a_leader_that_thaws_does_not_answer_from_the_past(three: Cluster, prefix: str) -> None:
    await three.arbiter(prefix).claim(VM, 0, "alpha", ALPHA_CLAIM)
    leader = await three.leader()
    others = [member for member in three.members if member is not leader]
    leader.freeze()
    beta = three.arbiter(prefix, others, timeout_ms=ELECTION_MS)
    won = await beta.claim(VM, 1, "beta", BETA_CLAIM)
    leader.thaw()
    # Right away: it still takes itself for the leader.
    alone = three.arbiter(prefix, [leader], timeout_ms=ELECTION_MS)
    assert await alone.claim(VM, 1, "alpha", b"alpha once more.") == Lost(won.record)


async def test_without_a_majority_nobody_wins(three: Cluster, prefix: str) -> None:
    await three.arbiter(prefix).claim(VM, 0, "alpha", ALPHA_CLAIM)
    for member in await three.followers():
        member.kill()
    arbiter = three.arbiter(prefix, timeout_ms=1000)
    await assert_unreachable(arbiter, 1000, "no answer within 1000 ms|etcdserver: no leader")
    with pytest.raises(ArbiterUnreachable):
        await arbiter.read(VM)
    await three.heal()
    assert await three.arbiter(prefix).claim(VM, 1, "beta", BETA_CLAIM) == Won(
        Record(VM, 2, "beta", BETA_CLAIM)
    ), "the one that had no answer, or this one: there is one winner, and it is told"


async def test_two_clusters_are_not_mixed(three: Cluster, one_member: Cluster, prefix: str) -> None:
    arbiter = three.arbiter(prefix, [*three.members[:1], *one_member.members])
    assert await arbiter.claim(VM, 0, "alpha", ALPHA_CLAIM) == Won(ALPHAS)
    three.members[0].kill()
    with pytest.raises(ArbiterUnreachable, match="it belongs to another cluster"):
        await arbiter.claim(VM, 0, "beta", BETA_CLAIM)
