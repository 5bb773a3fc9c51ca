"""The lab's guest apart from ftd: it boots, answers, keeps what it acknowledged, tells of its clocks."""

import subprocess
from pathlib import Path

import pytest
import trio

from lab.errors import MissingError
from lab.guest import disk, image, plain
from lab.guest.services import CHAIN_PORT, REDIS_PORT, SHELL_PORT
from lab.host import emulator
from lab.host.kernel_log import trouble_in
from lab.outside import disk_probe, file_system, shell
from lab.outside.chain_client import ChainClient
from lab.outside.connecting import Service
from lab.outside.redis_client import RedisWriter, verify, wait_ready
from lab.outside.write_book import WriteBook

pytestmark = [pytest.mark.lab, pytest.mark.timeout(300)]
HERE = "127.0.0.1"
BOOT_DEADLINE_S = 120.0


@pytest.fixture(scope="module")
def guest() -> image.Guest:
    try:
        emulator.require()
        return image.build()
    except MissingError as error:
        pytest.skip(str(error))


async def boot(running: plain.Plain) -> None:
    """Waits for the login and for the database."""
    with trio.fail_after(BOOT_DEADLINE_S):
        while "guest login:" not in running.console:
            assert running.process.poll() is None, running.console
            await trio.sleep(0.1)
        await wait_ready(service(running, REDIS_PORT))


def service(running: plain.Plain, port: int) -> Service:
    return Service(HERE, running.ports[port])


async def run(running: plain.Plain, text: str) -> shell.Said:
    return await shell.run(service(running, SHELL_PORT), text)


async def test_it_boots_to_a_login_and_answers(guest: image.Guest, tmp_path: Path) -> None:
    used = tmp_path / "disk.ext4"
    disk.copy(used)
    async with plain.running(guest, used) as running:
        await boot(running)
        client = ChainClient(service(running, CHAIN_PORT), rate_hz=100)
        writer = RedisWriter(service(running, REDIS_PORT), WriteBook())
        async with trio.open_nursery() as nursery:
            await nursery.start(client.run)
            await nursery.start(writer.run)
            with trio.fail_after(60):
                while client.account.answered < 100 or len(writer.book.acknowledged) < 100:
                    await trio.sleep(0.05)
            client.stop()
            writer.stop()
        assert client.account.intact, client.account.report()

        rate = await disk_probe.measure(service(running, SHELL_PORT), mib=4, block_kib=64)
        assert rate.written_bytes == 4 * 2**20
        assert (await run(running, "exit 7")).status == 7
        assert "/dev/vda on / type ext4" in (await run(running, "mount")).output
        await verify(service(running, REDIS_PORT), writer.book)
        assert writer.book.intact, writer.book.report()
        assert trouble_in(running.console) == []


async def test_what_was_acknowledged_is_on_the_disk_after_a_power_cut(
    guest: image.Guest, tmp_path: Path
) -> None:
    used = tmp_path / "disk.ext4"
    disk.copy(used)
    book = WriteBook()
    async with plain.running(guest, used) as running:
        await boot(running)
        writer = RedisWriter(service(running, REDIS_PORT), book)
        async with trio.open_nursery() as nursery:
            await nursery.start(writer.run)
            with trio.fail_after(60):
                while len(book.acknowledged) < 50:
                    await trio.sleep(0.05)
            running.kill()
            nursery.cancel_scope.cancel()
    checked = file_system.check(used)
    assert checked.clean, checked.said
    async with plain.running(guest, used) as running:
        await boot(running)
        await verify(service(running, REDIS_PORT), book)
        assert book.intact, book.report()
        # The checker's checker: a database that was emptied is found out.
        assert (await run(running, "redis-cli flushall")).status == 0
        await verify(service(running, REDIS_PORT), book)
        assert len(book.missing) == len(book.acknowledged)


async def test_a_clock_that_steps_back_is_told_on_the_console(guest: image.Guest) -> None:
    async with plain.running(guest, None) as running:
        with trio.fail_after(BOOT_DEADLINE_S):
            while "guest login:" not in running.console:
                await trio.sleep(0.1)
        assert "stepped back" not in running.console
        assert (await run(running, "date -s @$(($(date +%s) - 5))")).status == 0
        with trio.fail_after(30):
            while "clockwatch: CLOCK_REALTIME stepped back by" not in running.console:
                await trio.sleep(0.1)


def test_a_damaged_file_system_is_found(guest: image.Guest, tmp_path: Path) -> None:
    used = tmp_path / "disk.ext4"
    disk.copy(used)
    assert file_system.check(used).clean
    subprocess.run(["debugfs", "-w", "-R", "clri /etc", used], check=True, capture_output=True)
    assert not file_system.check(used).clean
