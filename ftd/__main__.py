"""`ftd`: the daemon's command line."""

import sys
import uuid
from pathlib import Path

import click
import trio

from ftd import __version__, arbiter, config, daemon, log, specs
from ftd.arbiter.contract import ArbiterUnreachable
from ftd.arbiter.fencing.agent import FenceFailed, run_agent
from ftd.errors import ControlError, ErrorKind


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--config",
    "config_path",
    type=click.Path(path_type=Path),
    default=Path("/etc/ftd/ftd.toml"),
    show_default=True,
    help="The host file.",
)
@click.option(
    "--check",
    is_flag=True,
    help="Check the configuration and exit: 0 if ftd could use it, 1 if etcd or a fence device does not "
    "answer, 2 if not.",
)
@click.version_option(__version__, prog_name="ftd")
def main(config_path: Path, check: bool) -> None:
    """Keep KVM guests running through the death of their host.

    One ftd runs on each host. It starts and finds the workers that hold the guests; it can be stopped and
    restarted without touching them. Use ftctl to talk to it.
    """
    failure: ControlError | None = None
    try:
        loaded = config.load(config_path)
        if check:
            click.echo(
                f"{config_path}: good: host {loaded.host.name}, VMs: {', '.join(loaded.vms) or 'none'}"
            )
            if loaded.arbiter.kind == "etcd":
                trio.run(_ask_arbiter, loaded)
            trio.run(_ask_fences, loaded)
            return
        log.configure(loaded.log.level, loaded.log.format, host=loaded.host.name)
        trio.run(daemon.run_until_signal, loaded)
    except* ControlError as group:
        failure = _first(group)
    if failure is not None:
        click.echo(f"ftd: {failure.message}", err=True)
        sys.exit(failure.exit_code)


async def _ask_arbiter(loaded: config.Config) -> None:
    try:
        await arbiter.make(specs.arbiter_spec(loaded)).read(str(uuid.UUID(int=0)))
    except ArbiterUnreachable as error:
        message = f"{loaded.path}: the arbiter does not answer: {error.reason}"
        raise ControlError(ErrorKind.ARBITER, message) from error


async def _ask_fences(loaded: config.Config) -> None:
    for host, device in loaded.fences.items():
        try:
            await run_agent(device, "monitor")
        except FenceFailed as error:
            message = f"{loaded.path}: peers.{host}.fence: {error}"
            raise ControlError(ErrorKind.REFUSED, message) from error


def _first(group: BaseExceptionGroup[ControlError]) -> ControlError:
    first = group.exceptions[0]
    return _first(first) if isinstance(first, BaseExceptionGroup) else first


if __name__ == "__main__":
    main()
