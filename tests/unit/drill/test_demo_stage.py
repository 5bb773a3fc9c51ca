"""How a demonstration looks, on a terminal and in a file."""

import io
from dataclasses import replace

import pytest
from rich.console import Console

from ftd.drill.demo_figures import Outcome
from ftd.drill.demo_stage import PLAIN_COLUMNS, Sample, Stage, plain_line, verdict
from tests.unit.drill.demo_outcomes import GOOD, PROTECTION, RATES

SAMPLE = Sample("alpha: protected, generation 1", RATES, 12_345, 499.6, 6_789)


def test_a_sample_in_one_line() -> None:
    assert plain_line(SAMPLE) == (
        "alpha: protected, generation 1: checkpoints/s 2,499, pause p50 / p99 40 / 90 µs, "
        "ack p50 / p99 150 / 1,234 µs, epoch 12,345, requests/s 500, answered 6,789"
    )


def test_without_checkpoints_only_requests_are_shown() -> None:
    alone = replace(SAMPLE, title="beta: simplex, generation 2", rates=None)
    assert plain_line(alone) == "beta: simplex, generation 2: requests/s 500, answered 6,789"


def test_a_file_gets_plain_lines_and_no_more_samples_than_it_can_use() -> None:
    file = io.StringIO()
    stage = Stage(Console(file=file, width=PLAIN_COLUMNS, highlight=False))
    with stage.live():
        for _ in range(10):
            stage.show(SAMPLE)
        stage.say("the host dies", "bold red")
    stage.close(GOOD)
    text = file.getvalue()
    assert text.count("checkpoints/s 2,499") == 1
    assert " s  the host dies\n" in text
    assert "\x1b" not in text
    assert "The guest outlived its host" in text


def test_a_terminal_gets_every_sample_and_the_story_stays_above_the_panel() -> None:
    file = io.StringIO()
    console = Console(
        file=file, width=100, height=40, force_terminal=True, highlight=False, _environ={"TERM": "xterm"}
    )
    stage = Stage(console)
    with stage.live():
        for epoch in (1_111, 2_222, 3_333):
            stage.show(replace(SAMPLE, epoch=epoch))
        stage.say("the host dies")
        stage.show(replace(SAMPLE, epoch=4_444))
    text = file.getvalue()
    assert all(epoch in text for epoch in ("1,111", "2,222", "3,333", "4,444"))
    assert text.index("3,333") < text.index("the host dies") < text.index("4,444")


@pytest.mark.parametrize(
    ("outcome", "said", "not_said"),
    [
        (GOOD, "The guest outlived its host", "not held"),
        (
            replace(GOOD, protection=replace(PROTECTION, asked_hz=5000)),
            "was not held: this machine was too slow",
            "FAILED",
        ),
        (Outcome(problem="beta did not start"), "FAILED: beta did not start", "outlived"),
    ],
)
def test_verdict(outcome: Outcome, said: str, not_said: str) -> None:
    text = verdict(outcome).plain
    assert said in text
    assert not_said not in text
