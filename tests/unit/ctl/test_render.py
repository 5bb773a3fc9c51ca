"""What an operator reads below the table."""

import io

from rich.console import Console

from ftd.ctl.render import status_view
from tests.unit.ctl.fake_ftd import report, worker_status

ASKED = {"period_asked_ns": 5_000_000}


def shown(**changes: object) -> str:
    screen = io.StringIO()
    Console(file=screen, width=200).print(status_view(report(worker_status(**changes)), None))
    return screen.getvalue()


def test_checkpoints_that_are_rarer_than_asked_for_are_told() -> None:
    assert "web: a checkpoint every 12.5 ms instead of 5.0" in shown(
        counters={**ASKED, "period_ns": 12_500_000}
    )


def test_checkpoints_as_asked_for_are_not() -> None:
    assert "instead of" not in shown(counters={**ASKED, "period_ns": 5_000_000})
    assert "instead of" not in shown(counters={**ASKED, "period_ns": 12_500_000}, state="simplex")
    assert "instead of" not in shown(counters={})
