"""`python -m lab.outside`: the clients, one at a time, for a person. Each prints its account as JSON."""

import json
import sys
from typing import Any

import click
import trio

from lab.errors import LabError
from lab.guest.services import CHAIN_PORT, REDIS_PORT, SHELL_PORT
from lab.outside import disk_probe, shell
from lab.outside.chain_client import ChainClient
from lab.outside.connecting import Service
from lab.outside.figures import histogram, percentile
from lab.outside.redis_client import RedisWriter, verify, wait_ready
from lab.outside.resp import ProtocolError
from lab.outside.write_book import WriteBook


def main() -> None:
    """The entry point. Errors are a sentence, not a traceback."""
    try:
        cli()
    except (LabError, ProtocolError, OSError, trio.BrokenResourceError) as error:
        click.echo(f"outside: {error}", err=True)
        sys.exit(125)


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
def cli() -> None:
    """Clients of the lab's guest. They end with 1 at a broken promise, with 125 without a guest."""


def _tell(report: dict[str, Any], ok: bool) -> None:
    click.echo(json.dumps(report))
    sys.exit(0 if ok else 1)


@cli.command()
@click.argument("host")
@click.option("--port", default=CHAIN_PORT, show_default=True)
@click.option("--seconds", default=10.0, show_default=True)
@click.option("--rate", "rate_hz", default=250.0, show_default=True, help="Requests a second.")
def chain(host: str, port: int, seconds: float, rate_hz: float) -> None:
    """One TCP connection: bytes lost, repeated or wrong, and the longest time without an answer."""
    client = ChainClient(Service(host, port), rate_hz=rate_hz)
    trio.run(_for_a_while, client, seconds)
    _tell(client.account.report(), client.account.intact)


@cli.command()
@click.argument("host")
@click.option("--port", default=CHAIN_PORT, show_default=True)
@click.option("--seconds", default=10.0, show_default=True)
@click.option("--rate", "rate_hz", default=50.0, show_default=True, help="Requests a second, at most.")
def latency(host: str, port: int, seconds: float, rate_hz: float) -> None:
    """Round trips of single requests: median, 99th percentile, and how many below each power of two."""
    client = ChainClient(Service(host, port), rate_hz=rate_hz, window=1)
    trio.run(_for_a_while, client, seconds)
    times_s = client.account.latencies_s
    report: dict[str, Any] = {"requests": len(times_s)}
    if times_s:
        report |= {f"p{q}_ms": round(percentile(times_s, q) * 1000, 3) for q in (50, 99)}
        report["below_ms"] = histogram(times_s)
    _tell(report, client.account.intact)


@cli.command()
@click.argument("host")
@click.option("--port", default=REDIS_PORT, show_default=True)
@click.option("--seconds", default=10.0, show_default=True)
def redis(host: str, port: int, seconds: float) -> None:
    """Writes numbered keys for a while, then looks for each that was acknowledged."""
    book = WriteBook()
    service = Service(host, port)
    writer = RedisWriter(service, book)

    async def write_and_verify() -> None:
        await wait_ready(service)
        await _for_a_while(writer, seconds)
        await wait_ready(service)
        await verify(service, book)

    trio.run(write_and_verify)
    _tell(book.report() | {"reconnections": writer.reconnections}, book.intact)


@cli.command()
@click.argument("host")
@click.option("--port", default=SHELL_PORT, show_default=True)
@click.option("--mib", default=32, show_default=True)
@click.option("--block-kib", default=64, show_default=True)
@click.option("--sync", is_flag=True, help="Flush the disk after each block.")
def disk(host: str, port: int, mib: int, block_kib: int, sync: bool) -> None:
    """How fast the guest writes to its disk."""

    async def measure() -> disk_probe.DiskRate:
        return await disk_probe.measure(Service(host, port), mib=mib, block_kib=block_kib, sync=sync)

    rate = trio.run(measure)
    _tell({"mb_per_s": round(rate.mb_per_s, 2), "bytes": rate.written_bytes}, True)


@cli.command(context_settings={"ignore_unknown_options": True})
@click.argument("host")
@click.option("--port", default=SHELL_PORT, show_default=True)
@click.argument("command", nargs=-1, required=True, type=click.UNPROCESSED)
def run(host: str, port: int, command: tuple[str, ...]) -> None:
    """Runs a command in the guest; ends with its status."""
    said = trio.run(shell.run, Service(host, port), " ".join(command))
    click.echo(said.output, nl=False)
    sys.exit(said.status)


async def _for_a_while(client: ChainClient | RedisWriter, seconds: float) -> None:
    async with trio.open_nursery() as nursery:
        await nursery.start(client.run)
        nursery.start_soon(_stop_after, client, seconds)


async def _stop_after(client: ChainClient | RedisWriter, seconds: float) -> None:
    await trio.sleep(seconds)
    client.stop()
