"""A planned move to the other host: the client's wait, beside that of QEMU's live migration."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from statistics import median
from typing import Final

import trio

from bench.lab import vm
from bench.lab.lab import Lab
from bench.lab.qemu import QemuGuest
from bench.model import NotMeasuredError, Row, row
from lab.outside.chain_client import ChainClient
from lab.outside.connecting import Service

MOVES: Final = 5
MOVES_QUICK: Final = 1
RATE_HZ: Final = 100.0
AROUND_S: Final = 1.0
"""The client is at work for so long before and after."""


async def measure(lab: Lab) -> list[Row]:
    """Medians of the longest time without an answer; both from unprotected to unprotected."""
    moves = MOVES_QUICK if lab.quick else MOVES
    ours_ms = await _switchovers_ms(lab, moves)
    theirs_ms = await _migrations_ms(lab, moves)
    name = f"blackout at the client of {moves} planned moves, to QEMU's live migration"
    return [row(name, "ms", median(ours_ms), reference=median(theirs_ms))]


async def _switchovers_ms(lab: Lab, moves: int) -> list[float]:
    scene = lab.scene
    source = await scene.unprotected()
    found_ms: list[float] = []
    for _ in range(moves):
        async with _client(scene.chain, found_ms):
            await scene.ftctl(source, "switchover", vm.NAME)
            source = scene.pair.peer_of(source)
            await scene.taken_over(source)
    lab.record("ftd", "switchover", blackout_ms=found_ms)
    await scene.stop(source)
    return found_ms


async def _migrations_ms(lab: Lab, moves: int) -> list[float]:
    pair = lab.scene.pair
    guest, source = QemuGuest(pair), pair.alpha
    await guest.start(source)
    found_ms: list[float] = []
    for _ in range(moves):
        async with _client(guest.chain, found_ms):
            await guest.migrate(source, pair.peer_of(source))
            source = pair.peer_of(source)
    lab.record("qemu", "live migration", blackout_ms=found_ms)
    await guest.stop(source)
    return found_ms


@asynccontextmanager
async def _client(service: Service, found_ms: list[float]) -> AsyncIterator[None]:
    """At work around a move; adds the blackout to a list. Raises NotMeasuredError if it lost anything."""
    client = ChainClient(service, rate_hz=RATE_HZ)
    async with trio.open_nursery() as nursery:
        await nursery.start(client.run)
        await trio.sleep(AROUND_S)
        client.account.forget_blackouts()
        yield
        await trio.sleep(AROUND_S)
        client.stop()
    if not client.account.intact:
        raise NotMeasuredError(f"the connection to {service} was not whole: {client.account.report()}")
    found_ms.append(client.account.blackout_s * 1000)
