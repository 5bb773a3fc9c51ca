"""Making a guest's network: what an operator is told when it cannot be, and that nothing is left behind."""

import pytest

from ftd.drill.local_pair import local_pair, worker_pids
from ftd.errors import ControlError
from ftd.protocol import control_operator as operator
from ftd.protocol.control import VmParams
from tests.failover.net.lan import BRIDGE, Lan, ip, lan
from tests.failover.net.talk import MAC, TAP, guest, talking
from tests.failover.scene import Scene, eventually, playing


def left_in(network: Lan, namespace: str, before: set[str]) -> set[str]:
    return network.links(namespace) - before


async def test_a_start_without_its_bridge_fails_and_leaves_nothing() -> None:
    with lan() as network:
        ip("-n", network.alpha, "link", "del", BRIDGE)
        before = network.links(network.alpha)
        async with local_pair(guest(), places=network.places) as pair:
            with pytest.raises(ControlError, match=f"no bridge {BRIDGE}: make it") as raised:
                await pair.start_guest()
        assert raised.value.exit_code == 2
        assert left_in(network, network.alpha, before) == set()


@pytest.mark.parametrize("trouble", ["no bridge", "tap taken", "no bridge but a veth"])
async def test_an_enter_that_the_standby_cannot_follow_leaves_all_as_it_was(trouble: str) -> None:
    with lan() as network:
        expected = {
            "no bridge": f"host beta: VM guest: network: there is no bridge {BRIDGE}",
            "tap taken": f"host beta: VM guest: network: the interface {TAP} exists already",
            "no bridge but a veth": f"host beta: VM guest: network: {BRIDGE} is no bridge but veth",
        }[trouble]
        if trouble == "tap taken":
            ip("-n", network.beta, "tuntap", "add", TAP, "mode", "tap")
        else:
            ip("-n", network.beta, "link", "del", BRIDGE)
        if trouble == "no bridge but a veth":
            ip("-n", network.beta, "link", "add", BRIDGE, "type", "veth", "peer", "name", "far")
        before = network.links(network.beta)
        async with playing(guest(), protected=False, places=network.places) as scene:
            with pytest.raises(ControlError, match=expected):
                await scene.pair.enter()
            assert (await scene.status(scene.alpha)).state == "idle"
            assert left_in(network, network.beta, before) == set()
            assert worker_pids(scene.beta.runtime_dir) == []


async def test_a_standby_without_memory_leaves_no_tap() -> None:
    with lan() as network:
        async with playing(guest(), protected=False, places=network.places) as scene:
            before = network.links(network.beta)
            await scene.beta.kill_daemon()
            text = scene.beta.config.read_text()
            scene.beta.config.write_text(text.replace("[host]", "[host]\nstandby_memory_max_mib = 8"))
            await scene.beta.start_daemon()
            with pytest.raises(ControlError, match="host beta"):
                await scene.pair.enter()
            assert left_in(network, network.beta, before) == set()


async def test_without_the_privilege_it_is_named() -> None:
    with lan() as network:
        namespace, address = network.places[0].command[-1], network.places[0].address
        command = ("ip", "netns", "exec", namespace, "setpriv", "--bounding-set", "-net_admin")
        place = type(network.places[0])(address, command)
        async with local_pair(guest(), places=(place, network.places[1])) as pair:
            with pytest.raises(ControlError, match="Operation not permitted; ftd needs CAP_NET_ADMIN"):
                await pair.start_guest()


async def taps_are_gone(scene: Scene, network: Lan) -> None:
    async def gone() -> bool:
        return not any(TAP in network.links(namespace) for namespace in (network.alpha, network.beta))

    await eventually("the end of both taps", gone)


async def test_a_stop_removes_both_taps() -> None:
    with lan() as network:
        async with playing(guest(), places=network.places) as scene:
            for namespace in (network.alpha, network.beta):
                link = network.link(namespace, TAP)
                assert (link["master"], link["mtu"]) == (BRIDGE, 1500)
                assert link["address"] == "fe" + MAC[2:], "never the lowest of the bridge"
                assert "UP" in link["flags"]
            await scene.alpha.call(operator.VM_STOP, VmParams(vm=scene.vm))
            await taps_are_gone(scene, network)


async def test_a_bridge_that_was_made_goes_with_its_last_tap() -> None:
    with lan() as network:
        async with playing(guest(create_bridge=True), places=network.places) as scene:
            assert "made0" in network.links(network.alpha) & network.links(network.beta)
            await scene.alpha.call(operator.VM_STOP, VmParams(vm=scene.vm))
            await taps_are_gone(scene, network)

            async def gone() -> bool:
                return "made0" not in network.links(network.alpha) | network.links(network.beta)

            await eventually("the end of both bridges", gone)


async def test_a_worker_outlives_ftd_with_its_tap() -> None:
    async with talking(guest()) as talk:
        await talk.scene.alpha.kill_daemon()
        await talk.client.more_answers(100)
        await talk.scene.alpha.start_daemon()
        await talk.client.more_answers(100)


async def test_a_tap_that_somebody_deletes_ends_the_network_and_not_the_guest() -> None:
    with lan() as network:
        async with playing(guest(), places=network.places) as scene:
            ip("-n", network.alpha, "link", "del", TAP)
            await scene.epochs_go_on(scene.alpha)
            assert (await scene.status(scene.alpha)).state == "protected"
