"""Answers that no etcd of ours gives: each is as good as none, and within the time limit."""

from __future__ import annotations

import time
from contextlib import AsyncExitStack

import outcome
import pytest
import trio

from ftd.arbiter.contract import ArbiterUnreachable, Lost, Record, Won
from ftd.arbiter.etcd.arbiter import EtcdArbiter
from ftd.arbiter.etcd.http import ANSWER_BYTES_MAX
from ftd.protocol.control import EndpointSpec, EtcdSpec
from tests.unit.arbiter.fake_member import Serve, found, http, member, saying, swapped

VM = "4f4c1f3a-1f7d-4d0e-9d57-6f2f0d3c9a10"
KEY = f"/ftd/{VM}"
ALPHA_CLAIM = b"alpha claims it."
BETA_CLAIM = b"beta claims it.."
ALPHAS = Record(VM, 1, "alpha", ALPHA_CLAIM)
TIMEOUT_MS = 500
LATE_S = 0.4


def arbiter_of(*endpoints: EndpointSpec) -> EtcdArbiter:
    return EtcdArbiter(EtcdSpec(endpoints=list(endpoints), prefix="/ftd/", timeout_ms=TIMEOUT_MS))


async def claimed(*members: Serve) -> Won | Lost:
    """Beta's claim of generation 2 from these members, in this order."""
    async with AsyncExitStack() as stack:
        endpoints = [await stack.enter_async_context(member(serve)) for serve in members]
        began = time.monotonic()
        answer = await outcome.acapture(arbiter_of(*endpoints).claim, VM, 1, "beta", BETA_CLAIM)
        assert time.monotonic() - began < TIMEOUT_MS / 1000 + LATE_S
    return answer.unwrap()  # outside: a nursery would wrap what is raised


async def test_answers_as_they_should_be() -> None:
    assert await claimed(saying(found(KEY, ALPHAS), swapped())) == Won(Record(VM, 2, "beta", BETA_CLAIM))
    later = Record(VM, 2, "alpha", b"alpha once more.")
    assert await claimed(saying(found(KEY, later))) == Lost(later)


NO_LEADER = http(b'{"error":"etcdserver: no leader","code":14}', "503 Service Unavailable")
TXN = b'{"header":{"cluster_id":"9398579039821186480","raft_term":"7"}'


@pytest.mark.parametrize(
    ("answers", "why"),
    [
        ([], "it closed the connection before|the connection broke"),
        ([b"SSH-2.0-OpenSSH_9.2\r\n\r\n"], "not HTTP as it should be"),
        ([b"HTTP/1.1 200 OK\r\nX: " + b"x" * 70_000], "not HTTP as it should be"),
        ([b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{}"], "it closed the connection before"),
        ([http(b"")], "not one of etcd's v3 JSON gateway"),
        ([http(b"\xff\xfe")], "not one of etcd's v3 JSON gateway"),
        ([http(b"<html>it works</html>")], "not one of etcd's v3 JSON gateway"),
        ([http(b"[" * 60_000)], "not one of etcd's v3 JSON gateway"),
        ([http(b"{}")], "missing required field `header`"),
        ([http(b'{"header":{"cluster_id":"1"}}')], "missing required field `raft_term`"),
        ([http(b'{"header":{"cluster_id":"x","raft_term":"7"}}')], "cluster_id"),
        ([http(b'{"header":{"cluster_id":"1","raft_term":"seven"}}')], "raft_term"),
        ([http(b" " * (ANSWER_BYTES_MAX + 1))], f"its answer is longer than {ANSWER_BYTES_MAX} bytes"),
        ([http(b"404 page not found", "404 Not Found")], "it has no v3 JSON gateway"),
        ([NO_LEADER] * 30, r"it refused \('etcdserver: no leader', HTTP status 503\)"),
        ([http(b"<html>", "502 Bad Gateway")], "it refused .'no reason given', HTTP status 502"),
        ([http(b"", "307 Temporary Redirect")], "HTTP status 307"),
        ([found("/ftd/another", ALPHAS)], "it answered for another key"),
        ([found(KEY, b"")], "is damaged.*restore it, or remove it"),
        ([found(KEY, b"x" * 5000)], "is damaged .longer than 4096 bytes"),
        ([found(KEY, Record(VM.replace("4", "5"), 1, "alpha", ALPHA_CLAIM))], "the record of another VM"),
        ([found(KEY, None)], "says generation 0, but 1 was held"),
        ([found(KEY, ALPHAS)], "it closed the connection before|the connection broke"),
        ([found(KEY, ALPHAS), http(TXN + b"}")], "missing required field `responses`"),
        ([found(KEY, ALPHAS), http(TXN + b',"succeeded":true,"responses":[]}')], "responses"),
        (
            [found(KEY, ALPHAS), http(TXN + b',"succeeded":true,"responses":[{}]}')],
            "does not fit",
        ),
        (
            [found(KEY, ALPHAS), http(TXN + b',"responses":[{"response_put":{}}]}')],
            "does not fit",
        ),
    ],
)
async def test_what_is_no_answer(answers: list[bytes], why: str) -> None:
    with pytest.raises(ArbiterUnreachable, match=f"^claiming generation 2 in etcd: 127.0.0.1:.*({why})"):
        await claimed(saying(*answers))


async def test_member_without_a_leader_is_asked_again_until_it_has_one() -> None:
    assert isinstance(await claimed(saying(NO_LEADER, NO_LEADER, found(KEY, ALPHAS), swapped())), Won)


async def test_term_that_goes_back_is_refused_also_within_one_claim() -> None:
    with pytest.raises(ArbiterUnreachable, match="its raft term 6 is older than 7, which was seen before"):
        await claimed(saying(found(KEY, ALPHAS, term=7), swapped(term=6)))
    assert isinstance(await claimed(saying(found(KEY, ALPHAS, term=7), swapped(term=8))), Won)


async def test_term_and_cluster_are_remembered_from_question_to_question() -> None:
    later = Record(VM, 2, "alpha", b"alpha once more.")
    answers = [
        found(KEY, ALPHAS),
        found(KEY, later, term=6),
        found(KEY, later, term=9, cluster="1"),
        found(KEY, later, term=7),
    ]
    async with member(one_a_connection(answers)) as endpoint:
        arbiter = arbiter_of(endpoint)
        assert await arbiter.read(VM) == ALPHAS
        with pytest.raises(ArbiterUnreachable, match="its raft term 6 is older than 7"):
            await arbiter.claim(VM, 1, "beta", BETA_CLAIM)
        with pytest.raises(ArbiterUnreachable, match=r"it belongs to another cluster \(1\) than the one"):
            await arbiter.claim(VM, 1, "beta", BETA_CLAIM)
        assert await arbiter.claim(VM, 1, "beta", BETA_CLAIM) == Lost(later)


def one_a_connection(answers: list[bytes]) -> Serve:
    """The next answer for each connection."""
    left = list(answers)

    async def serve(stream: trio.SocketStream) -> None:
        await saying(left.pop(0))(stream)

    return serve


async def test_members_of_two_clusters_do_not_make_one() -> None:
    """The first one's answer is lost after the read: the second must not go on from there."""
    with pytest.raises(ArbiterUnreachable, match="it belongs to another cluster"):
        await claimed(saying(found(KEY, ALPHAS)), saying(found(KEY, ALPHAS, cluster="1"), swapped()))


async def silent(stream: trio.SocketStream) -> None:
    while await stream.receive_some(65536):
        pass


async def dripping(stream: trio.SocketStream) -> None:
    await stream.send_all(b"HTTP/1.1 200 OK\r\nContent-Length: 60000\r\n\r\n")
    while True:
        await stream.send_all(b" ")
        await trio.sleep(0.02)


async def endless(stream: trio.SocketStream) -> None:
    await stream.send_all(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    while True:
        await stream.send_all(b"1000\r\n" + b" " * 4096 + b"\r\n")


@pytest.mark.parametrize(
    ("serve", "why"),
    [(silent, "no answer within 500 ms"), (dripping, "no answer within 500 ms"), (endless, "longer than")],
)
async def test_member_that_takes_its_time_takes_no_more_than_there_is(serve: Serve, why: str) -> None:
    with pytest.raises(ArbiterUnreachable, match=why):
        await claimed(serve)
    # And it keeps nobody from asking the next.
    assert isinstance(await claimed(serve, saying(found(KEY, ALPHAS), swapped())), Won)


async def test_every_member_says_why_not() -> None:
    refused = EndpointSpec(host="127.0.0.1", port=1)
    async with member(saying(http(b"{}"))) as useless:
        with pytest.raises(ArbiterUnreachable) as caught:
            await arbiter_of(refused, useless).read(VM)
    first, second = caught.value.reason.split("; ")
    assert first == "reading the generation in etcd: 127.0.0.1:1: no connection (Connection refused)"
    assert second.startswith(f"{useless}: its answer is not one of etcd's v3 JSON gateway")


async def test_name_that_nobody_knows() -> None:
    with pytest.raises(ArbiterUnreachable, match=r"no\.such\.host\.invalid:2379: no "):
        await arbiter_of(EndpointSpec(host="no.such.host.invalid", port=2379)).read(VM)
