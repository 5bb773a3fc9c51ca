"""Models and fuzzers in C, against the data plane's own sources, under sanitizers.

All seeds are fixed: a failure names its case, and ``PROGRAM SEED 1 CASE`` repeats it.
"""

from __future__ import annotations

import re
import subprocess
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from ftd.metrics import bucket_index
from ftd.protocol.refusal import Refusal
from tests.dataplane.programs import PROGRAMS, SANITIZER_FAILED, Builder, run

CONNECTIONS_A_PROCESS = 25_100
FUZZ_SEEDS = (1, 2, 3, 4)
STANDBY_REFUSES = set(Refusal) - {Refusal.TOKEN, Refusal.HELLO, Refusal.PROCESSOR, Refusal.STATE}
"""The others are judged in Python, at the handshake and when a state is restored."""
U64_MAX = 2**64 - 1


def assert_passed(done: subprocess.CompletedProcess[str]) -> None:
    assert done.returncode == 0, done.stderr[-6000:]


def tally(output: str) -> dict[int, int]:
    """How many connections ended with each refusal (0: none)."""
    return {int(number): int(count) for number, count in re.findall(r"\b(\d+):(\d+)", output)}


@pytest.mark.parametrize("seed", [1, 2])
@pytest.mark.parametrize(
    "name",
    [
        "block_model",
        "crc32c_model",
        "events_overflow",
        "hotset_model",
        "mt_model",
        "net_model",
        "output_model",
        "serial_model",
        "share_model",
    ],
)
def test_model(builder: Builder, name: str, seed: int) -> None:
    assert_passed(run(builder.program(name), seed))


@pytest.mark.timeout(400)
def test_standby_refuses_what_is_mutated_and_keeps_what_is_committed(builder: Builder) -> None:
    """More than 100,000 connections, each with a mutated frame that the standby reached."""
    program = builder.program("fuzz_standby")

    def fuzz(seed: int) -> subprocess.CompletedProcess[str]:
        return run(program, seed, CONNECTIONS_A_PROCESS, seconds=360)

    with ThreadPoolExecutor() as pool:
        done = list(pool.map(fuzz, FUZZ_SEEDS))
    refused: dict[int, int] = {}
    for process in done:
        assert_passed(process)
        for number, count in tally(process.stdout).items():
            refused[number] = refused.get(number, 0) + count
    assert len(FUZZ_SEEDS) * CONNECTIONS_A_PROCESS >= 100_000
    assert all(refused[refusal] >= 100 for refusal in STANDBY_REFUSES), refused


def test_primary_acknowledges_nothing_on_the_word_of_a_mutated_frame(builder: Builder) -> None:
    done = run(builder.program("fuzz_acks"), 1, 60_000, seconds=100)
    assert_passed(done)
    refused = tally(done.stdout)
    # An acknowledgement that announces page contents is refused for its length before pages_len is judged.
    judged = STANDBY_REFUSES - {
        Refusal.OVERSIZE,
        Refusal.DUPLICATE,
        Refusal.GFN,
        Refusal.ENCODING,
        Refusal.DISK,
    }
    assert all(refused[refusal] >= 100 for refusal in judged - {Refusal.PAGES_LEN}), refused


def test_heartbeats_of_any_kind(builder: Builder) -> None:
    done = run(builder.program("fuzz_heartbeat"), 1, 40_000, seconds=100)
    assert_passed(done)
    assert tally(done.stdout)[0] >= 1000


@pytest.mark.parametrize(("name", "arguments"), [("standby_threads", (1, 400)), ("output_threads", (1,))])
def test_threads(builder: Builder, name: str, arguments: tuple[int, ...]) -> None:
    done = run(builder.program(name, "thread"), *arguments, seconds=PROGRAMS[name].seconds)
    if done.returncode == SANITIZER_FAILED and "unexpected memory mapping" in done.stderr:
        pytest.skip("the thread sanitizer does not run on this kernel's address space layout")
    assert_passed(done)


@settings(max_examples=20, deadline=None)
@example([0, 1, 31, 32, 63, 64, 65, 127, 128, 129, U64_MAX - 1, U64_MAX])
@example([2**power + offset for power in range(6, 64) for offset in (-1, 0, 1)])
@given(st.lists(st.integers(0, U64_MAX), min_size=1, max_size=200))
def test_histogram_buckets_are_those_of_the_metrics(builder: Builder, values: list[int]) -> None:
    done = run(builder.program("histogram_index"), text="\n".join(map(str, values)))
    assert_passed(done)
    assert [int(line) for line in done.stdout.split()] == [bucket_index(value) for value in values]
