"""`python -m tests.failover.net.measure`: figures of docs/NETWORK.md, as a client outside sees them."""

from __future__ import annotations

import argparse
import signal
import statistics

import trio

from tests.failover.net.echo_client import PORT
from tests.failover.net.lan import GUEST_ADDRESS, Lan
from tests.failover.net.talk import Talk, guest, talking


async def blackout_ms(number: signal.Signals) -> float:
    """The client's longest silence when the primary's worker gets this signal."""
    async with talking(guest(heartbeat_timeout_ms=100)) as talk:
        await talk.client.more_answers(200)
        talk.client.account.longest_silence_s = 0.0
        await talk.scene.signal_worker(talk.scene.alpha, number)
        await talk.client.more_answers(300)
        silence_s = talk.client.account.longest_silence_s
        return silence_s * 1000


async def switchover_ms() -> float:
    """The same when an operator moves the guest."""
    async with talking(guest()) as talk:
        await talk.client.more_answers(200)
        talk.client.account.longest_silence_s = 0.0
        await talk.scene.pair.switchover(talk.scene.alpha)
        await talk.client.more_answers(300)
        return talk.client.account.longest_silence_s * 1000


async def round_trips_ms(network: Lan, count: int = 1000) -> list[float]:
    """One request after the other, to an echoer that knows them all already."""
    sock = network.udp_socket()
    sock.setblocking(False)
    times = []
    with trio.socket.from_stdlib_socket(sock) as client:
        for _ in range(count):
            began_s = trio.current_time()
            await client.sendto((1).to_bytes(8, "little"), (GUEST_ADDRESS, PORT))
            await client.recv(2048)
            times.append((trio.current_time() - began_s) * 1000)
    return times


async def latency(talk: Talk) -> str:
    """Protected at the guest's rate, then unprotected."""
    protected = statistics.median(await round_trips_ms(talk.network))
    await talk.scene.pair.leave(talk.scene.alpha)
    alone = statistics.median(await round_trips_ms(talk.network))
    return f"round trip p50: {protected:.2f} ms protected, {alone:.2f} ms unprotected"


def spread(name: str, values: list[float]) -> None:
    """One line."""
    print(f"{name}: median {statistics.median(values):.0f} ms, largest {max(values):.0f} ms of {len(values)}")


async def main(times: int) -> None:
    """Prints as it goes."""
    for rate_hz in (200, 1000):
        async with talking(guest(checkpoint_rate_hz=rate_hz)) as talk:
            talk.client.finish()
            print(f"{rate_hz} checkpoints a second: {await latency(talk)}", flush=True)
    spread("blackout, SIGKILL", [await blackout_ms(signal.SIGKILL) for _ in range(times)])
    spread("blackout, SIGSTOP, timeout 100 ms", [await blackout_ms(signal.SIGSTOP) for _ in range(times)])
    spread("switchover", [await switchover_ms() for _ in range(times)])


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--times", type=int, default=10)
    trio.run(main, parser.parse_args().times)
