"""The guest's own programs, run here: what they answer is computed apart from them."""

import subprocess
from pathlib import Path

import pytest

from ftd.drill.chain import Chain
from lab.guest import programs
from lab.outside.disk_probe import parse

LINE_BYTES_MAX = 200


@pytest.fixture(scope="module")
def folder() -> Path:
    return programs.build()


def run(folder: Path, data: bytes) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run([folder / "chain"], input=data, capture_output=True, timeout=30, check=False)


def test_the_chain_is_the_one_that_clients_compute(folder: Path) -> None:
    payloads = [b"request %d" % number * (number % 7) for number in range(2000)]
    chain = Chain()
    expected = b"".join(b"%d %016x\n" % (n, chain.append(line)) for n, line in enumerate(payloads, start=1))
    done = run(folder, b"".join(line + b"\n" for line in payloads))
    assert (done.returncode, done.stdout) == (0, expected)


@pytest.mark.parametrize(
    "bad", [b"a" * (LINE_BYTES_MAX + 1) + b"\n", b"a" * 100_000, b"\0\n", b"\xff\n", b"no end of line"]
)
def test_what_is_no_request_ends_it_after_the_answers_before(folder: Path, bad: bytes) -> None:
    good = b"a" * LINE_BYTES_MAX
    done = run(folder, good + b"\n" + bad)
    assert done.returncode == 1
    assert done.stdout == b"1 %016x\n" % Chain().append(good)


def test_it_serves_more_lines_than_it_has_room_for_answers(folder: Path) -> None:
    done = run(folder, b"\n" * 100_000)
    assert done.returncode == 0
    assert done.stdout.count(b"\n") == 100_000


def test_diskwrite_says_what_it_wrote_and_leaves_nothing(folder: Path, tmp_path: Path) -> None:
    words = [str(tmp_path / "written"), "2", "64", "sync"]
    done = subprocess.run([folder / "diskwrite", *words], capture_output=True, text=True, check=False)
    if "Invalid argument" in done.stderr:
        pytest.skip("the folder of temporary files does not take direct writes")
    assert parse(done.stdout).written_bytes == 2 * 2**20
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("words", [[], ["x", "0", "64"], ["x", "1", "3"]])
def test_diskwrite_refuses_what_it_cannot_do(folder: Path, tmp_path: Path, words: list[str]) -> None:
    done = subprocess.run([folder / "diskwrite", *words], cwd=tmp_path, capture_output=True, check=False)
    assert done.returncode == 2
    assert list(tmp_path.iterdir()) == []
