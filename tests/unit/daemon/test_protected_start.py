"""A VM that was protected is not booted anew while a peer may have a whole copy of it."""

import pytest
import trio

from ftd.arbiter.contract import NOBODY, Arbiter, ArbiterUnreachable, Record
from ftd.errors import ControlError, ErrorKind
from ftd.protected_start import ProtectedStart
from ftd.protection.wishes import Wish, Wishes
from ftd.protocol.control import PROTOCOL_VERSION, method_table
from ftd.protocol.control_peer import (
    HAS_COPY,
    PEER_HELLO,
    CopyReport,
    HasCopyParams,
    HelloParams,
)
from ftd.transport.listen import tcp_listeners
from ftd.transport.server import ControlServer
from tests.unit.daemon.conftest import Host


class OneRecord(Arbiter):
    """Knows one record, or does not answer."""

    def __init__(self, record: Record | None, *, answers: bool = True) -> None:
        self._record, self._answers = record, answers

    async def read(self, vm_id: str) -> Record | None:
        if not self._answers:
            raise ArbiterUnreachable("away")
        return self._record

    async def claim(self, vm_id: str, expected_generation: int, holder: str, claim_id: bytes) -> None:  # type: ignore[override]
        raise AssertionError("a check changes nothing")

    async def release(self, vm_id: str, generation: int, holder: str) -> bool:
        raise AssertionError("a check changes nothing")


def held_by(host: str) -> OneRecord:
    return OneRecord(Record("web", 3, host, bytes(16)))


async def serve_peer(host: Host, state: str | None, nursery: trio.Nursery) -> None:
    """In beta's place: a daemon that has a copy in this state."""

    async def has_copy(params: HasCopyParams) -> CopyReport:
        assert params.vm == "web"
        return CopyReport(state=state)

    async def hello(params: HelloParams) -> HelloParams:
        return HelloParams(host="beta", protocol_version=PROTOCOL_VERSION)

    server = ControlServer(method_table(HAS_COPY, PEER_HELLO))
    server.handle(HAS_COPY, has_copy)
    server.handle(PEER_HELLO, hello)
    await nursery.start(server.serve, await tcp_listeners(host.config.control_listen))


async def check(hosts: tuple[Host, Host], arbiter: Arbiter, wish: Wish | None = Wish.ENTERED) -> None:
    config = hosts[0].config
    wishes = Wishes(config.wishes_dir)
    await wishes.put("web", wish)
    await ProtectedStart(config, wishes, arbiter).check(config.vms["web"])


@pytest.mark.parametrize("state", ["standby", "failing_over", "simplex", "unresponsive"])
async def test_a_copy_that_may_go_on_is_named(
    hosts: tuple[Host, Host], nursery: trio.Nursery, state: str
) -> None:
    await serve_peer(hosts[1], state, nursery)
    with pytest.raises(ControlError, match=f"beta has a whole copy of it .{state}.*--force") as refused:
        await check(hosts, held_by("alpha"))
    assert refused.value.kind is ErrorKind.REFUSED


@pytest.mark.parametrize("state", [None, "standby_syncing"])
async def test_a_copy_that_cannot_go_on_is_none(
    hosts: tuple[Host, Host], nursery: trio.Nursery, state: str | None
) -> None:
    await serve_peer(hosts[1], state, nursery)
    await check(hosts, held_by("alpha"))


async def test_a_peer_that_does_not_answer_is_no_answer(hosts: tuple[Host, Host]) -> None:
    with pytest.raises(ControlError, match=r"cannot be found out.*Wait for beta.*--force"):
        await check(hosts, held_by("alpha"))


@pytest.mark.parametrize(
    ("arbiter", "wish"),
    [
        (held_by("alpha"), None),
        (held_by("alpha"), Wish.STANDBY),
        (held_by(NOBODY), Wish.ENTERED),
        (held_by("beta"), Wish.ENTERED),
        (OneRecord(None), Wish.ENTERED),
        (OneRecord(None, answers=False), Wish.ENTERED),
    ],
    ids=["left", "another's", "ended", "lost", "never-ran", "arbiter-away"],
)
async def test_nobody_is_asked_where_nobody_can_have_it_or_the_arbiter_decides(
    hosts: tuple[Host, Host], arbiter: Arbiter, wish: Wish | None
) -> None:
    await check(hosts, arbiter, wish)  # beta does not answer here
