"""The witness's blackout, on a clock that can be trusted; and the last question."""

from pathlib import Path

import pytest
import trio
import trio.testing

from ftd.drill import demo_client
from ftd.drill.demo_client import Witness, last_record
from tests.unit.drill.fake_ledger import FakeLedger

ALPHA, BETA = "unix:/alpha", "unix:/beta"


async def test_the_blackout_lasts_from_the_last_answer_to_the_first_of_the_other_host(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with trio.open_nursery() as nursery:
        ledger = FakeLedger(nursery, reachable=ALPHA)
        witness = Witness([ALPHA, BETA], connector_for=ledger.connector_for)
        nursery.start_soon(witness.run)
        await witness.answering.wait()
        await trio.sleep(1)
        witness.expect_move_to(BETA)
        await ledger.fail_over(None)
        await trio.sleep(0.5)
        assert witness.blackout_ms is None
        ledger.reachable = BETA
        await witness.moved.wait()
        assert witness.blackout_ms == pytest.approx(510, abs=20)
        await trio.sleep(1)
        assert witness.blackout_ms == pytest.approx(510, abs=20)
        await witness.finish()
        assert witness.book.outstanding == 0
        assert not witness.book.breaches
        nursery.cancel_scope.cancel()


async def test_a_new_connection_to_the_same_host_ends_no_blackout(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with trio.open_nursery() as nursery:
        ledger = FakeLedger(nursery, reachable=ALPHA)
        witness = Witness([ALPHA, BETA], connector_for=ledger.connector_for)
        nursery.start_soon(witness.run)
        await witness.answering.wait()
        witness.expect_move_to(BETA)
        await ledger.fail_over(ALPHA)
        await trio.sleep(1)
        assert not witness.moved.is_set()
        nursery.cancel_scope.cancel()


async def test_finish_does_not_wait_for_ever(autojump_clock: trio.testing.MockClock) -> None:
    async with trio.open_nursery() as nursery:
        ledger = FakeLedger(nursery, reachable=ALPHA)
        witness = Witness([ALPHA, BETA], connector_for=ledger.connector_for)
        nursery.start_soon(witness.run)
        await witness.answering.wait()
        await ledger.fail_over(None)
        await trio.sleep(1)
        began_s = trio.current_time()
        await witness.finish()
        assert trio.current_time() - began_s == pytest.approx(demo_client.FINISH_DEADLINE_S)
        assert witness.book.outstanding > 0
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize(
    ("answer", "record"),
    [
        (b"A 6 00\nL 7 000000000000beef\n", (7, 0xBEEF)),
        (b"G 7\n", None),
        (b"L 7 000000000000be", None),
    ],
)
async def test_last_record(tmp_path: Path, answer: bytes, record: tuple[int, int] | None) -> None:
    path = tmp_path / "console"

    async def serve(stream: trio.SocketStream) -> None:
        assert await stream.receive_some() == b"\n?\n"
        await stream.send_all(answer)
        await stream.aclose()

    with trio.socket.socket(trio.socket.AF_UNIX) as listening:
        await listening.bind(str(path))
        listening.listen()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(trio.serve_listeners, serve, [trio.SocketListener(listening)])
            assert await last_record(f"unix:{path}") == record
            nursery.cancel_scope.cancel()


async def test_no_last_record_where_nobody_listens(tmp_path: Path) -> None:
    assert await last_record(f"unix:{tmp_path}/nobody") is None
