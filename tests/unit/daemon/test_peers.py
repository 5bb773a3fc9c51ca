"""Between daemons: what a host refuses to its peer, and peers that are silent, lie or are someone else."""

import os
import signal
from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import partial
from typing import Any

import pytest
import trio
from msgspec.structs import replace

from ftd.config import Address
from ftd.errors import ControlError, ErrorKind
from ftd.limits import TOKEN_BYTES
from ftd.peers import Peer
from ftd.protocol import envelope
from ftd.protocol.control import VmParams
from ftd.protocol.control_operator import ENTER, STATUS, StatusParams
from ftd.protocol.control_peer import DiscardStandbyParams, GuestShape, HelloParams, PrepareStandbyParams
from ftd.specs import active_spec, guest_shape
from tests.unit.daemon.conftest import VM_FILE, Host

Misbehave = Callable[[str], None]
TOKEN = bytes(TOKEN_BYTES)


def request(host: Host, /, **changes: Any) -> PrepareStandbyParams:
    """What alpha would ask of beta for VM web, but for what is changed."""
    vm = host.config.vms["web"]
    good = PrepareStandbyParams(
        host="alpha",
        vm="web",
        vm_id=vm.vm_id,
        generation=1,
        shape=guest_shape(active_spec(host.config, vm, "", force=False)),
        tracker="auto",
        token=TOKEN,
        wanted=True,
        heartbeat_interval_ms=20,
        heartbeat_timeout_ms=100,
        epoch_pages_max=4096,
        parts_max=4,
    )
    return replace(good, **changes)


def peer(host: Host, ours: str = "alpha") -> Peer:
    return Peer(ours, host.config.host.name, host.config.control_listen)


def shape(host: Host, **changes: Any) -> GuestShape:
    return replace(request(host).shape, **changes)


async def test_shapes_must_agree(beta: Host) -> None:
    differing = shape(beta, memory_bytes=1 << 30, irqchip=True, image_sha256=bytes(32), args=[1])
    with pytest.raises(ControlError) as caught:
        await peer(beta).prepare_standby(request(beta, shape=differing))
    assert caught.value.kind is ErrorKind.REFUSED
    for said in (
        "host beta: VM web is not the same machine on both hosts: memory_mib is 1024 there and 64 here",
        "irqchip is True there and False here",
        "guest.image (sha256) is 0000000000000000 there",
        "guest.args is [1] there and [1, 2] here",
    ):
        assert said in caught.value.message
    assert "vcpus" not in caught.value.message
    assert not (await beta.call(STATUS, StatusParams())).workers


@pytest.mark.parametrize(
    ("changes", "kind", "said"),
    [
        ({"host": "gamma"}, ErrorKind.REFUSED, "beta does not know a host gamma"),
        ({"vm": "db"}, ErrorKind.UNKNOWN_VM, "VM db is not in the configuration of beta"),
        ({"vm_id": bytes(16)}, ErrorKind.REFUSED, "VM web has another id on beta"),
        ({"heartbeat_interval_ms": 50}, ErrorKind.REFUSED, "heartbeat_timeout_ms is less than 3 x"),
        ({"vm": "../web"}, ErrorKind.BAD_REQUEST, "Expected `str` matching regex"),
        ({"epoch_pages_max": 1 << 30}, ErrorKind.BAD_REQUEST, "<= 65536 - at `$.epoch_pages_max`"),
        ({"generation": 0}, ErrorKind.BAD_REQUEST, ">= 1 - at `$.generation`"),
    ],
)
async def test_prepare_is_refused(beta: Host, changes: dict[str, Any], kind: ErrorKind, said: str) -> None:
    with pytest.raises(ControlError) as caught:
        await peer(beta).prepare_standby(request(beta, **changes))
    assert caught.value.kind is kind
    assert said in caught.value.message


async def test_peer_of_the_vm_is_someone_else(hosts: tuple[Host, Host], nursery: trio.Nursery) -> None:
    beta = hosts[1]
    path = beta.config.path
    path.write_text(path.read_text() + '[peers.gamma]\naddress = "127.0.0.1:1"\n')
    beta.reconfigure('peer = "gamma"\n' + VM_FILE)
    await beta.start(nursery)
    with pytest.raises(
        ControlError, match="in the configuration of beta the peer of VM web is gamma, not alpha"
    ):
        await peer(beta).prepare_standby(request(beta))
    await beta.stop()


async def test_memory_of_the_standby(alpha: Host, beta: Host, nursery: trio.Nursery) -> None:
    await alpha.start_vm()
    beta.memory_available_bytes = 200 << 20
    with pytest.raises(ControlError, match="host beta: host beta has too little memory for VM web") as caught:
        await alpha.ask(ENTER)
    assert caught.value.kind is ErrorKind.MEMORY
    beta.memory_available_bytes = 1 << 40
    await beta.stop()
    beta.limit_standbys(100)
    await beta.start(nursery)
    with pytest.raises(
        ControlError, match=r"may hold 100 MiB of standbys .*: it holds 0 MiB, and VM web needs"
    ):
        await alpha.ask(ENTER)
    assert (await alpha.worker()).state == "idle"


async def test_a_standby_to_which_nobody_came_is_replaced(beta: Host) -> None:
    """It can never take over; whoever asked for it has lost sight of it."""
    prepared = await peer(beta).prepare_standby(request(beta))
    assert prepared.address == "127.0.0.1"
    first = (await beta.worker()).pid
    await peer(beta).prepare_standby(request(beta))
    second = await beta.worker()
    assert (second.state, second.pid != first) == ("standby_syncing", True)


async def test_a_whole_copy_is_never_replaced(beta: Host) -> None:
    """A request may be late: what it asks to replace may be the only copy beside the one that asked."""
    prepared = await peer(beta).prepare_standby(request(beta))
    async with await trio.open_tcp_stream(prepared.address, prepared.port) as primary:
        await primary.send_all(TOKEN)
        await primary.receive_some(1)
        with pytest.raises(ControlError, match="VM web has a worker here already: standby, standby in gen"):
            await peer(beta).prepare_standby(request(beta))
        assert (await beta.worker()).state == "standby"


async def test_discard_takes_the_right_token(beta: Host) -> None:
    await peer(beta).prepare_standby(request(beta))
    with pytest.raises(ControlError, match="the worker of VM web here is not that standby"):
        await peer(beta).discard_standby(DiscardStandbyParams(vm="web", token=b"x" * TOKEN_BYTES))
    await peer(beta).discard_standby(DiscardStandbyParams(vm="web", token=TOKEN))
    await beta.until_gone()
    await peer(beta).discard_standby(DiscardStandbyParams(vm="web", token=TOKEN))


async def test_a_standby_that_may_own_the_guest_is_not_discarded(beta: Host) -> None:
    prepared = await peer(beta).prepare_standby(request(beta))
    async with await trio.open_tcp_stream(prepared.address, prepared.port) as primary:
        await primary.send_all(TOKEN)
        await primary.receive_some(1)
        with pytest.raises(ControlError, match="it may own the guest and is not discarded"):
            await peer(beta).discard_standby(DiscardStandbyParams(vm="web", token=TOKEN))
        assert (await beta.worker()).state == "standby"


async def test_an_active_vm_is_not_discarded(beta: Host) -> None:
    await beta.start_vm()
    with pytest.raises(ControlError, match="is not that standby"):
        await peer(beta).discard_standby(DiscardStandbyParams(vm="web", token=TOKEN))


async def test_standby_worker_that_does_not_start(alpha: Host, beta: Host, misbehave: Misbehave) -> None:
    await alpha.start_vm()
    misbehave("error-at-start")
    with pytest.raises(ControlError, match="host beta: /dev/kvm cannot be opened") as caught:
        await alpha.ask(ENTER)
    assert caught.value.kind is ErrorKind.NO_KVM
    assert (await alpha.worker()).state == "idle"


async def test_peer_is_not_running(alpha: Host) -> None:
    await alpha.start_vm()
    with pytest.raises(ControlError, match=r"the ftd of host beta at 127\.0\.0\.1:\d+: .*refused") as caught:
        await alpha.ask(ENTER)
    assert caught.value.kind is ErrorKind.PEER_UNREACHABLE
    assert (await alpha.worker()).state == "idle"


async def call_impostor(
    answer: Callable[[trio.SocketStream], Awaitable[None]], nursery: trio.Nursery
) -> None:
    """Asks a thing that claims to be beta for a standby."""
    serve = partial(trio.serve_tcp, answer, 0, host="127.0.0.1")
    [listener] = await nursery.start(serve)
    address = Address("127.0.0.1", listener.socket.getsockname()[1])
    try:
        await Peer("alpha", "beta", address).discard_standby(DiscardStandbyParams(vm="web", token=TOKEN))
    finally:
        nursery.cancel_scope.cancel()


def saying(frame: bytes) -> Callable[[trio.SocketStream], Awaitable[None]]:
    async def answer(stream: trio.SocketStream) -> None:
        await stream.receive_some()
        await stream.send_all(frame)
        await trio.sleep_forever()

    return answer


@pytest.mark.parametrize(
    ("frame", "kind", "said"),
    [
        (
            envelope.result_frame(1, HelloParams(host="gamma", protocol_version=1)),
            "config",
            "is host gamma; check",
        ),
        (
            envelope.result_frame(1, HelloParams(host="beta", protocol_version=9)),
            "refused",
            "speaks control protocol 9",
        ),
        (b"SSH-2.0-OpenSSH_9.2\r\n", "peer-unreachable", "does not speak ftd's control protocol"),
        (b"\xff\xff\xff\xff", "peer-unreachable", "a frame of 4294967295 bytes"),
        (envelope.error_frame(1, ControlError(ErrorKind.INTERNAL, "boom")), "internal", "host beta: boom"),
    ],
)
async def test_impostors(frame: bytes, kind: str, said: str, nursery: trio.Nursery) -> None:
    with pytest.raises(ControlError, match=said) as caught:
        await call_impostor(saying(frame), nursery)
    assert caught.value.kind == kind


async def test_silent_peer(nursery: trio.Nursery, autojump_clock: trio.testing.MockClock) -> None:
    with pytest.raises(ControlError, match=r"no answer to peer_hello within 5 s") as caught:
        await call_impostor(saying(b""), nursery)
    assert caught.value.kind is ErrorKind.PEER_UNREACHABLE


@pytest.mark.parametrize("raw", [b"\xff" * 64, b"\x04\x00\x00\x00\xc1\xc1\xc1\xc1", b"\x08\x00\x00\x00half"])
async def test_garbage_at_the_peer_port_disturbs_nobody(beta: Host, raw: bytes) -> None:
    address = beta.config.control_listen
    async with await trio.open_tcp_stream(address.host, address.port) as stream:
        with trio.fail_after(5), suppress(trio.BrokenResourceError):
            await stream.send_all(raw)
            await stream.send_eof()
            assert await stream.receive_some() == b"", "the connection is closed"
    await peer(beta).prepare_standby(request(beta))


async def test_operators_are_not_served_at_the_peer_port(beta: Host) -> None:
    address = beta.config.control_listen
    async with await trio.open_tcp_stream(address.host, address.port) as stream:
        await stream.send_all(envelope.request_frame(1, "vm_stop", VmParams(vm="web")))
        answer = await stream.receive_some()
    assert b"no method 'vm_stop' here" in answer


async def test_unresponsive_standby_is_not_replaced(beta: Host) -> None:
    await peer(beta).prepare_standby(request(beta))
    pid = (await beta.worker()).pid
    os.kill(pid, signal.SIGSTOP)
    with pytest.raises(ControlError, match="does not answer status"):
        await peer(beta).prepare_standby(request(beta))
    os.kill(pid, signal.SIGCONT)
