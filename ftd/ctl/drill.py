"""`ftctl drill`: the command line's part. What a drill is stands in ftd/drill/."""

import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Final

import click
import trio

from ftd.ctl.client import call
from ftd.drill import report, schedule, session
from ftd.drill.catalogue import FAULTS
from ftd.errors import ControlError, ErrorKind
from ftd.protocol.control_drill import DRILL_VIEW, DrillViewParams

EXIT_PASSED: Final = 0
EXIT_FAILED: Final = 1
EXIT_INTERRUPTED: Final = 130


@click.command()
@click.argument("vm", metavar="[VM]", required=False)
@click.option("--fault", type=click.Choice(list(FAULTS)), help="What to do to it; --list explains them.")
@click.option("--list", "list_faults", is_flag=True, help="Show the faults, and do nothing.")
@click.option("--dry-run", is_flag=True, help="Check, say step by step what would be done, and do nothing.")
@click.option("--yes", is_flag=True, help="Do not ask. Without a terminal it is required.")
@click.option(
    "--probe",
    default="console",
    show_default=True,
    metavar="PROBE",
    help="How to observe the guest: console (a ledger guest), tcp:ADDRESS:PORT (connections), "
    "echo:ADDRESS:PORT (lines that come back).",
)
@click.option(
    "--report",
    "report_path",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Write a page (HTML) here, and JSON beside it. A folder: under a name of their own in it.",
)
@click.option(
    "--blackout-max-ms",
    type=click.IntRange(1, 600_000),
    metavar="MS",
    help="The longest time without an answer that passes.  [default: heartbeat timeout + 1000]",
)
@click.option(
    "--protect-within",
    "protect_within_s",
    type=click.FloatRange(1, 3600),
    default=60.0,
    show_default=True,
    metavar="S",
    help="How long the guest may be unprotected once the fault is over.",
)
@click.option(
    "--hold",
    "hold_s",
    type=click.FloatRange(1, 600),
    default=10.0,
    show_default=True,
    metavar="S",
    help="How long arbiter-loss lasts.",
)
@click.option("--if-here", is_flag=True, help="Where the guest does not run here, say so and end with 0.")
@click.option(
    "--schedule",
    "calendar",
    metavar="CALENDAR",
    help='Have systemd run this drill ("Mon *-*-* 10:00"), here, whenever the guest is here.',
)
@click.option("--unschedule", is_flag=True, help="Take the timer of VM away.")
@click.pass_obj
def drill(
    socket: Path,
    vm: str | None,
    fault: str | None,
    list_faults: bool,
    dry_run: bool,
    yes: bool,
    probe: str,
    report_path: Path | None,
    blackout_max_ms: int | None,
    protect_within_s: float,
    hold_s: float,
    if_here: bool,
    calendar: str | None,
    unschedule: bool,
) -> None:
    """Try out, on a working day, that the guest outlives a fault.

    Inflicts FAULT on the protected VM, on the host where it runs, observes the guest from outside, undoes
    what lasts, waits until the VM is protected again, and judges. Exit codes: 0 passed; 1 failed, or refused
    and nothing was changed; 2 wrong usage; 130 interrupted, what lasted is undone.
    """
    if list_faults:
        _show_faults()
        return
    if vm is None:
        raise click.UsageError("name a VM, or --list")
    if unschedule:
        _said(partial(schedule.remove, vm))
        return
    if fault is None:
        raise click.UsageError("name a fault with --fault; --list shows them")
    wish = session.Wish(vm, fault, probe, blackout_max_ms, protect_within_s, hold_s, dry_run)
    confirm = partial(_confirm, yes)
    if calendar is not None:
        arguments = _arguments(socket, wish, report_path)
        _said(partial(_known, socket, vm))
        _said(partial(schedule.install, vm, calendar, arguments, confirm=confirm))
        return
    sys.exit(_drill(socket, wish, confirm, report_path, if_here))


def _drill(
    socket: Path, wish: session.Wish, confirm: Callable[[str], None], report_path: Path | None, if_here: bool
) -> int:
    try:
        if report_path is not None:
            report.check_writable(report_path)
        record = trio.run(session.run, partial(call, socket), wish, click.echo, confirm)
    except ControlError as error:
        click.echo(f"ftctl: {error.message}", err=not (if_here and isinstance(error, session.NotHereError)))
        return EXIT_PASSED if if_here and isinstance(error, session.NotHereError) else error.exit_code
    except (KeyboardInterrupt, BaseExceptionGroup) as error:
        # During the drill itself a signal is no exception.
        if isinstance(error, BaseExceptionGroup) and error.split(KeyboardInterrupt)[1] is not None:
            raise
        click.echo("ftctl: interrupted; nothing was done", err=True)
        return EXIT_INTERRUPTED
    if record is None:
        return EXIT_PASSED if wish.dry_run else EXIT_INTERRUPTED
    judged = report.judged(record)
    for line in report.summary(judged):
        click.echo(line)
    if report_path is not None:
        for path in report.write(judged, report_path):
            click.echo(f"written: {path}")
    return EXIT_PASSED if judged.verdict.passed else EXIT_FAILED


def _confirm(yes: bool, what: str) -> None:
    if yes:
        return
    if not sys.stdin.isatty():
        message = f"{what}. This is done to a running guest: confirm it with --yes. Nothing was done"
        raise ControlError(ErrorKind.REFUSED, message)
    if not click.confirm(f"{what}. Do it?"):
        raise ControlError(ErrorKind.REFUSED, "nothing was done")


def _said(action: Callable[[], list[str]]) -> None:
    try:
        for text in action():
            click.echo(text)
    except ControlError as error:
        click.echo(f"ftctl: {error.message}", err=True)
        sys.exit(error.exit_code)


def _known(socket: Path, vm: str) -> list[str]:
    """Raises ControlError for a VM that this host's ftd does not know."""
    trio.run(call, socket, DRILL_VIEW, DrillViewParams(vm=vm))
    return []


def _show_faults() -> None:
    for fault in FAULTS.values():
        click.echo(f"{fault.name}\n    {fault.does}")
        click.echo(f"    afterwards the guest runs on: {fault.survivor.value}")
        if fault.undo:
            click.echo(f"    the drill {fault.undo}, also when it is interrupted")
        click.echo(f"    takes {fault.needs}")


def _arguments(socket: Path, wish: session.Wish, report_path: Path | None) -> list[str]:
    """Of the scheduled command."""
    found = ["--socket", str(socket), "drill", wish.vm, "--fault", wish.fault, "--probe", wish.probe]
    found += ["--protect-within", f"{wish.protect_within_s:g}", "--hold", f"{wish.hold_s:g}"]
    if wish.blackout_max_ms is not None:
        found += ["--blackout-max-ms", str(wish.blackout_max_ms)]
    found += ["--report", str(report_path.absolute() if report_path else schedule.REPORTS)]
    return [*found, "--yes", "--if-here"]
