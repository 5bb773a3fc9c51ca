"""A claim whose answer is lost: nobody knows, until the same claim is asked again."""

from __future__ import annotations

import outcome
import trio

from ftd.arbiter.contract import Lost, Record, Won
from ftd.arbiter.etcd.arbiter import EtcdArbiter
from ftd.protocol.control import EtcdSpec
from tests.etcd.cluster import Cluster
from tests.etcd.wire import losing_wire

VM = "4f4c1f3a-1f7d-4d0e-9d57-6f2f0d3c9a10"
ALPHA_CLAIM = b"alpha claims it."
BETA_CLAIM = b"beta claims it.."
BETAS = Record(VM, 2, "beta", BETA_CLAIM)


async def claim_and_lose_the_answer(cluster: Cluster, prefix: str) -> None:
    """Beta's, of generation 2."""
    await cluster.arbiter(prefix).claim(VM, 0, "alpha", ALPHA_CLAIM)
    async with losing_wire(cluster.members[0]) as endpoint:
        beta = EtcdArbiter(EtcdSpec(endpoints=[endpoint], prefix=prefix, timeout_ms=5000))
        answer = await outcome.acapture(beta.claim, VM, 1, "beta", BETA_CLAIM)
    assert "it closed the connection before its answer was whole" in str(answer)


async def test_the_same_claim_asked_again_has_won(one_member: Cluster, prefix: str) -> None:
    await claim_and_lose_the_answer(one_member, prefix)
    assert await one_member.arbiter(prefix).claim(VM, 1, "beta", BETA_CLAIM) == Won(BETAS)


async def test_another_claim_has_lost_then(one_member: Cluster, prefix: str) -> None:
    await claim_and_lose_the_answer(one_member, prefix)
    assert await one_member.arbiter(prefix).claim(VM, 1, "alpha", b"alpha once more.") == Lost(BETAS)


async def test_another_member_is_asked_within_the_same_claim(three: Cluster, prefix: str) -> None:
    await three.arbiter(prefix).claim(VM, 0, "alpha", ALPHA_CLAIM)
    async with losing_wire(three.members[0]) as endpoint:
        endpoints = [endpoint, three.members[1].endpoint]
        beta = EtcdArbiter(EtcdSpec(endpoints=endpoints, prefix=prefix, timeout_ms=5000))
        assert await beta.claim(VM, 1, "beta", BETA_CLAIM) == Won(BETAS)


async def test_member_killed_in_the_middle_of_a_claim(three: Cluster, prefix: str) -> None:
    """The leader gets the transaction and dies: recorded or not, the claim is answered by those that live."""
    await three.arbiter(prefix).claim(VM, 0, "alpha", ALPHA_CLAIM)
    leader = await three.leader()
    others = [member for member in three.members if member is not leader]

    async def dies(_far: trio.SocketStream) -> None:
        leader.kill()

    async with losing_wire(leader, then=dies) as endpoint:
        endpoints = [endpoint, *(member.endpoint for member in others)]
        beta = EtcdArbiter(EtcdSpec(endpoints=endpoints, prefix=prefix, timeout_ms=15_000))
        assert await beta.claim(VM, 1, "beta", BETA_CLAIM) == Won(BETAS)
    assert await three.arbiter(prefix, others).claim(VM, 1, "alpha", b"alpha once more.") == Lost(BETAS)


async def test_what_arrives_late_changes_nothing(three: Cluster, prefix: str) -> None:
    """A frozen leader has alpha's transaction in its socket; beta wins meanwhile; it thaws."""
    await three.arbiter(prefix).claim(VM, 0, "alpha", ALPHA_CLAIM)
    leader = await three.leader()
    others = [member for member in three.members if member is not leader]

    async def hangs(_far: trio.SocketStream) -> None:
        await trio.sleep_forever()

    async with losing_wire(leader, before=leader.freeze, then=hangs) as endpoint:
        late = EtcdArbiter(EtcdSpec(endpoints=[endpoint], prefix=prefix, timeout_ms=500))
        answer = await outcome.acapture(late.claim, VM, 1, "alpha", b"alpha once more.")
        assert "no answer within 500 ms" in str(answer)
        beta = three.arbiter(prefix, others, timeout_ms=15_000)
        assert await beta.claim(VM, 1, "beta", BETA_CLAIM) == Won(BETAS)
        leader.thaw()
        await three.heal()
        assert await three.arbiter(prefix, [leader]).read(VM) == BETAS
    assert await three.arbiter(prefix, [leader]).claim(VM, 1, "alpha", b"alpha once more.") == Lost(BETAS)
