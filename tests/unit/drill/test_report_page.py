"""The page of a drill: whole, closed, and saying what the record says."""

import re
import xml.etree.ElementTree as ET
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path

import msgspec
import pytest

from ftd.drill.catalogue import Survivor
from ftd.drill.record import Record
from ftd.drill.report import Judged, check_writable, judged, summary, write
from ftd.drill.report_page import marks_of, page, zoom
from ftd.drill.report_timeline import Mark, Scale, segments, timeline
from ftd.errors import ControlError
from tests.unit.drill.records import answers, change, record, sample

SVG = "{http://www.w3.org/2000/svg}"
VOID = {"meta", "br", "hr", "img", "link", "input"}


class Balance(HTMLParser):
    """Every element that is opened is closed, in order."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def html(found: Record) -> str:
    result = judged(found)
    return page(found, result.figures, result.verdict)


def test_the_page_is_whole_and_needs_nothing_beside_it() -> None:
    text = html(record())
    parser = Balance()
    parser.feed(text)
    assert parser.open == []
    assert "<script" not in text
    assert not re.findall(r"(?:src|href)\s*=|url\(|@import", text)
    assert len(text.encode()) < 200_000
    for said in (
        "Drill of VM web: freeze",
        "passed",
        "704.0 ms",
        "0 of 2,860",
        "SIGSTOP to the worker on alpha",
    ):
        assert said in parser.text


def test_a_failed_drill_says_so() -> None:
    text = html(record(survivor=None, generation_after=None, problem="nobody has taken the guest over"))
    assert '<p class="pill failed">failed</p>' in text
    assert "nobody has taken the guest over" in text


def test_what_others_wrote_cannot_become_markup() -> None:
    nasty = "<img src=x onerror=alert(1)>&\"'"
    text = html(
        record(
            vm=nasty,
            peer=nasty,
            problem=nasty,
            survivor=nasty,
            answers=answers(breaches=[nasty], probe=nasty),
        )
    )
    assert "<img" not in text
    parser = Balance()
    parser.feed(text)
    assert parser.open == []


def picture(found: Record, begin_s: float = -3.0, end_s: float = 12.0) -> ET.Element:
    return ET.fromstring(timeline(found, marks_of(found), begin_s, end_s, "T"))


def test_the_picture_has_its_parts() -> None:
    svg = picture(record())
    classes = [element.get("class", "") for element in svg.iter()]
    for kind, least in {
        "answer": 100,
        "gap": 1,
        "state good": 3,
        "state alone": 1,
        "epoch": 3,
        "heartbeat": 3,
    }.items():
        assert classes.count(kind) >= least, kind
    letters = [element.text for element in svg.iter(f"{SVG}text") if element.get("class") == "letter"]
    assert letters == list("ABCDEFGH")


def test_nothing_lies_outside_of_the_picture() -> None:
    for begin_s, end_s in ((-3.0, 12.0), (-0.1, 0.9), (0.55, 0.56)):
        svg = picture(record(), begin_s, end_s)
        _, _, width, height = (float(value) for value in svg.get("viewBox", "").split())
        for element in svg.iter():
            for name, limit in (("x", width), ("cx", width), ("y", height), ("cy", height)):
                assert 0 <= float(element.get(name, 0)) <= limit, ET.tostring(element)
            x, wide = float(element.get("x", 0)), element.get("width", "0")
            assert x + float(wide if wide.replace(".", "").isdigit() else 0) <= width + 4


def test_marks_do_not_lie_on_each_other() -> None:
    svg = picture(record())
    at_x = [float(element.get("cx", 0)) for element in svg.iter(f"{SVG}circle")]
    assert all(after - before >= 18 for before, after in pairwise(at_x))


def test_an_empty_record_has_a_page() -> None:
    """A drill that was ended before it saw anything."""
    empty = answers(bins=[], asked=0, answered=0, gap_begin_s=None, gap_end_s=None, longest_wait_s=None)
    text = html(record(samples=[], changes=[], steps=[], answers=empty, begin_s=0.0, end_s=0.0))
    assert "failed" in text


def test_a_silent_host_has_no_state() -> None:
    found = segments(
        [sample(-1.0, "alpha"), sample(-0.9, "alpha"), sample(5.0, "alpha"), sample(5.1, "alpha")], []
    )
    assert found == [(-1.0, -0.9, "protected"), (5.0, 5.1, "standby")]


def test_a_change_between_two_samples_is_shown_when_it_happened() -> None:
    found = segments(
        [sample(0.5, "beta"), sample(0.6, "beta"), sample(0.7, "beta")],
        [change(0.54, "beta", "PeerLost", "standby", "failing_over")],
    )
    assert found[:2] == [(0.5, 0.54, "standby"), (0.54, 0.6, "failing_over")]


def test_ticks_are_round_and_few() -> None:
    for begin_s, end_s in ((-3.0, 12.0), (-0.13, 0.97), (0.0, 0.004), (0.0, 900.0)):
        ticks = list(Scale(begin_s, end_s).ticks())
        assert len(ticks) <= 10
        assert all(begin_s <= tick <= end_s for tick in ticks)


def test_the_zoom_shows_fault_and_first_answer() -> None:
    found = record()
    begin_s, end_s = zoom(found, marks_of(found))
    assert begin_s < -0.004
    assert 0.7 < end_s < 2


def test_marks_say_who_did_what() -> None:
    texts = [mark.text for mark in marks_of(record())]
    assert texts[0] == "the fault: freeze"
    assert "beta notices the loss" in texts
    assert "alpha loses it, and stops" in texts
    assert texts[-1] == "protected again"
    unmoved = record(promised=Survivor.UNMOVED, protected_again_s=1.0)
    assert "protected again" not in [mark.text for mark in marks_of(unmoved)]


def test_more_marks_than_letters_are_cut() -> None:
    many = [change(0.01 * number, "beta", "ClaimWon", "a", "b") for number in range(60)]
    marks: list[Mark] = marks_of(record(changes=many))
    assert len(marks) == 26


def test_both_files_are_written_and_json_says_the_same(tmp_path: Path) -> None:

    folder = tmp_path / "reports"
    check_writable(folder)
    html_path, json_path = write(judged(record()), folder)
    assert html_path.name == "web-freeze-20260921T141320Z.html"
    assert msgspec.json.decode(json_path.read_bytes(), type=Judged) == judged(record())
    assert write(judged(record()), folder / "named.html")[1].name == "named.json"


def test_a_report_that_cannot_be_written_is_refused_before_the_drill(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ControlError, match="Nothing was done"):
        check_writable(tmp_path / "file" / "report.html")


def test_the_summary_names_what_was_not_kept() -> None:
    lines = list(summary(judged(record(answers=answers(lost=2)))))
    assert "NOT KEPT: no answer is lost: 2 of 2860 lost" in lines
    assert lines[-1] == "drill of VM web, freeze: FAILED"
    assert list(summary(judged(record())))[-1] == "drill of VM web, freeze: passed"
