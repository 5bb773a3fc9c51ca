"""The commands of `ftctl`."""

import sys
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import Literal, TypeVar

import click
import trio
from rich.console import Console

from ftd import __version__
from ftd.ctl import progress, render, status
from ftd.ctl.client import call
from ftd.ctl.drill import drill
from ftd.errors import ControlError
from ftd.limits import CHECKPOINT_RATE_HZ_MAX
from ftd.protocol.control import PROTOCOL_VERSION, Message, Method, Nothing, VmParams
from ftd.protocol.control_operator import (
    CONFIRM_OFF,
    ENTER,
    FAILOVER,
    LEAVE,
    MAINTENANCE,
    SWITCHOVER,
    VERSION,
    VM_LIST,
    VM_START,
    VM_STOP,
    ConfirmOffParams,
    ForceParams,
)
from ftd.protocol.maintenance import MaintenanceParams

T = TypeVar("T")
P = TypeVar("P", bound=Message)
R = TypeVar("R", bound=Message)

DEFAULT_SOCKET = Path("/run/ftd/ctl.sock")
INTERRUPTED_EXIT_CODE = 130
PIPE_COLUMNS = 200

vm_argument = click.argument("vm", metavar="VM")
pass_socket = click.make_pass_decorator(Path)


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--socket",
    type=click.Path(path_type=Path),
    envvar="FTCTL_SOCKET",
    show_envvar=True,
    default=DEFAULT_SOCKET,
    show_default=True,
    help="Control socket of the ftd to talk to.",
)
@click.pass_context
def main(context: click.Context, socket: Path) -> None:
    """Protect running KVM guests against the death of their host.

    Talks to the ftd of this host. Exit codes: 0 done; 1 refused or failed, nothing was changed unless the
    message says so; 2 wrong usage, unknown VM or bad configuration.
    """
    context.obj = socket


@main.group()
def vm() -> None:
    """Start, stop and list the VMs of this host."""


@vm.command("start")
@vm_argument
@click.option(
    "--force",
    is_flag=True,
    help="Start although the arbiter names another host. You answer for that one being dead.",
)
@pass_socket
def vm_start(socket: Path, vm: str, force: bool) -> None:
    """Start VM, unprotected."""
    started = _ask(socket, VM_START, ForceParams(vm=vm, force=force))
    click.echo(
        f"VM {vm} runs (pid {started.pid})" + (f", console at {started.console}" if started.console else "")
    )


@vm.command("stop")
@vm_argument
@pass_socket
def vm_stop(socket: Path, vm: str) -> None:
    """Stop VM and end its guest. A protected VM leaves protection first."""
    _ask(socket, VM_STOP, VmParams(vm=vm))
    click.echo(f"VM {vm} is stopped")


@vm.command("list")
@pass_socket
def vm_list(socket: Path) -> None:
    """List the VMs that are configured or run here."""
    _console().print(render.vm_table(_ask(socket, VM_LIST, Nothing())))


@main.command()
@vm_argument
@pass_socket
def enter(socket: Path, vm: str) -> None:
    """Put VM under protection by its peer host, until `ftctl leave`.

    Returns when the peer holds a whole copy of the running guest. If you interrupt it, the request goes on;
    `ftctl leave` gives it up. From then on ftd protects the VM again by itself whenever it runs alone.
    """
    _run(partial(progress.call_with_bar, _console(stderr=True), socket, ENTER, vm))
    click.echo(f"VM {vm} is protected")


@main.command()
@vm_argument
@pass_socket
def leave(socket: Path, vm: str) -> None:
    """End the protection of VM; its guest runs on here, the standby is dropped, and no other is sought."""
    _ask(socket, LEAVE, VmParams(vm=vm))
    click.echo(f"VM {vm} is not protected any more")


@main.command()
@vm_argument
@pass_socket
def switchover(socket: Path, vm: str) -> None:
    """Move VM to its peer host, without losing anything.

    A VM that is not protected is first brought under protection: this is live migration. One that was is
    protected again afterwards, without a command.
    """
    _run(partial(progress.call_with_bar, _console(stderr=True), socket, SWITCHOVER, vm))
    click.echo(f"VM {vm} runs on its peer now. If it was protected, it will be again, without a command")


@main.command()
@vm_argument
@click.option(
    "--force", is_flag=True, help="Do it although the arbiter says no. You answer for the primary being dead."
)
@pass_socket
def failover(socket: Path, vm: str, force: bool) -> None:
    """Take VM over from its primary. Run it on the host that has the standby.

    ftd does this by itself when the primary dies; this command is for a primary that you know to be dead or
    want to be rid of. The arbiter is asked, so a live primary loses the guest and stops.
    """
    _ask(socket, FAILOVER, ForceParams(vm=vm, force=force))
    click.echo(f"VM {vm} runs here now; it will be protected again without a command")


@main.command()
@click.argument("host", metavar="HOST")
@click.option("--end", is_flag=True, help="VMs may be put on HOST again; none is moved back.")
@pass_socket
def maintenance(socket: Path, host: str, end: bool) -> None:
    """Move all VMs off HOST, and keep it free of VMs until --end, also over a reboot.

    HOST may be this one or a peer. Guests are switched over, standbys are let go, so that another host may
    have them. Exit code 1: something is still there; the output says what and why. HOST takes nothing new
    all the same.
    """
    action: Literal["begin", "end"] = "end" if end else "begin"
    report = _ask(socket, MAINTENANCE, MaintenanceParams(host=host, action=action))
    _console().print(render.maintenance_view(report))
    if not all(moved.gone for moved in report.vms):
        click.echo(f"ftctl: not everything could be moved off {host}", err=True)
        sys.exit(1)
    if not report.note:
        click.echo(f"{host} may have VMs again" if end else f"{host} is in maintenance, and no VM is there")


@main.command("confirm-off")
@click.argument("host", metavar="HOST")
@pass_socket
def confirm_off(socket: Path, host: str) -> None:
    """Tell ftd that HOST, with which this one shares no arbiter, is off. You answer for it.

    Guests that wait here because HOST is lost go on at once. If HOST is not off, they run twice.
    """
    _ask(socket, CONFIRM_OFF, ConfirmOffParams(host=host))
    click.echo(f"guests that wait for word of {host} go on here")


@main.command("status")
@click.argument("vm", metavar="[VM]", required=False)
@click.option("--watch", is_flag=True, help="Keep showing it, until interrupted.")
@click.option(
    "--json", "as_json", is_flag=True, help="Everything that ftd knows, counters and histograms included."
)
@click.option(
    "--interval",
    "interval_s",
    type=click.FloatRange(min=0.05, max=3600),
    default=1.0,
    show_default=True,
    metavar="S",
    help="Seconds between two samples of --watch.",
)
@pass_socket
def show_status(socket: Path, vm: str | None, watch: bool, as_json: bool, interval_s: float) -> None:
    """Show the VMs that run here, or only VM.

    Rates and latencies are those of the time since the sample before. checkpoints/s counts what the standby
    acknowledged (on a standby: received); stalls counts how often the guest had to wait for it.
    """
    if as_json:
        action = partial(status.show_json, socket, vm, interval_s if watch else None)
    elif watch:
        action = partial(status.watch, _console(), socket, vm, interval_s)
    else:
        action = partial(status.show_once, _console(), socket, vm)
    _run(action, interrupted_exit_code=0 if watch else INTERRUPTED_EXIT_CODE)


@main.command()
@click.option(
    "--seconds",
    type=click.FloatRange(min=1, max=30),
    default=10.0,
    show_default=True,
    help="How long the guest is protected before its host is killed.",
)
@click.option(
    "--rate",
    "rate_hz",
    type=click.IntRange(1, CHECKPOINT_RATE_HZ_MAX),
    default=2500,
    show_default=True,
    help="Checkpoints a second to ask for.",
)
def demo(seconds: float, rate_hz: int) -> None:
    """Show it on this machine: two daemons, a guest, a client, a kill.

    Needs a usable /dev/kvm and nothing else; touches no configuration and ends by itself within a minute.
    Exit codes: 0 nothing was lost; 1 a promise was broken; 3 there is no KVM that can be used.
    """
    from ftd.drill.demo import main as run_demo

    sys.exit(run_demo(seconds=seconds, rate_hz=rate_hz))


main.add_command(drill)


@main.command()
@pass_socket
def version(socket: Path) -> None:
    """Show the versions of ftctl and of the ftd that it talks to."""
    click.echo(f"ftctl {__version__}, control protocol {PROTOCOL_VERSION}")
    daemon = _ask(socket, VERSION, Nothing())
    click.echo(f"ftd   {daemon.version}, control protocol {daemon.protocol_version}, on host {daemon.host}")


def _ask(socket: Path, method: Method[P, R], params: P) -> R:
    return _run(partial(call, socket, method, params))


def _run(action: Callable[[], Awaitable[T]], *, interrupted_exit_code: int = INTERRUPTED_EXIT_CODE) -> T:
    """Runs one action; ends the process, with a sentence, when it fails in a way that operators cause."""
    try:
        return trio.run(_awaited, action)
    except ControlError as error:
        click.echo(f"ftctl: {error.message}", err=True)
        sys.exit(error.exit_code)
    except (KeyboardInterrupt, BaseExceptionGroup) as error:
        if isinstance(error, BaseExceptionGroup) and error.split(KeyboardInterrupt)[1] is not None:
            raise
        if interrupted_exit_code:
            click.echo("ftctl: interrupted; what was asked for goes on in ftd: see `ftctl status`", err=True)
        sys.exit(interrupted_exit_code)


async def _awaited(action: Callable[[], Awaitable[T]]) -> T:
    return await action()


def _console(*, stderr: bool = False) -> Console:
    """On a pipe, lines are as wide as they need to be."""
    stream = sys.stderr if stderr else sys.stdout
    return Console(stderr=stderr, highlight=False, width=None if stream.isatty() else PIPE_COLUMNS)


if __name__ == "__main__":
    main()
