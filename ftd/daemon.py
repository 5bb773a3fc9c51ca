"""The nursery tree of ftd: what runs, in which order it starts, and what its end leaves alone.

    run
      workers      one small task per worker, waiting for its end
      servers      peers' requests (TCP), operators' requests (Unix socket)
      keeper       protects again what is to be protected and runs alone
      watchdog     tells systemd that this loop turns

Start: the control socket is taken first, because it says that no other ftd runs here; then workers are found;
only then is anyone answered. End (SIGTERM, SIGINT): nobody is answered any more. Workers and guests stay.
"""

import signal
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path

import trio

from ftd import reboots
from ftd.busy import BusyVms
from ftd.config import Config
from ftd.drills import Drills
from ftd.entering import Entering
from ftd.errors import ConfigError
from ftd.evacuation import Evacuation
from ftd.host_memory import AvailableBytes, available_bytes
from ftd.log import get_logger
from ftd.maintenance import Maintenance
from ftd.no_arbiter import NoArbiter
from ftd.operations import Operations
from ftd.protection.keeper import Keeper
from ftd.protection.kept_off import KeptOff
from ftd.protection.wishes import Wishes
from ftd.protocol.control_operator import CONFIRM_OFF, MAINTENANCE
from ftd.protocol.control_peer import HAS_COPY, PEER_MAINTENANCE, RELEASE_STANDBY
from ftd.sdnotify import Notifier
from ftd.standbys import Standbys
from ftd.transport.listen import tcp_listeners, unix_listener
from ftd.workers import Workers

log = get_logger(__name__)

CONTROL_SOCKET_MODE = 0o660


async def run_until_signal(config: Config) -> None:
    """Runs the daemon until SIGTERM or SIGINT. Raises ControlError when it cannot start."""
    with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
        async with trio.open_nursery() as nursery:
            await nursery.start(run, config)
            async for number in signals:
                log.info("stopping; workers and their guests stay", signal=signal.Signals(number).name)
                break
            nursery.cancel_scope.cancel()


async def run(
    config: Config,
    *,
    memory_available_bytes: AvailableBytes = available_bytes,
    task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Runs the daemon until cancelled. Raises ControlError when it cannot start."""
    notifier = Notifier()
    _make_directories(config)
    async with AsyncExitStack() as stack:
        control = await stack.enter_async_context(unix_listener(config.control_socket, CONTROL_SOCKET_MODE))
        peers = await tcp_listeners(config.control_listen)
        for listener in peers:
            stack.push_async_callback(listener.aclose)
        nursery = await stack.enter_async_context(trio.open_nursery())
        stack.callback(notifier.stopping)

        workers = Workers(config.workers_dir, nursery, lambda: notifier.status(_status_line(workers)))
        await workers.find()
        busy = BusyVms()
        wishes = Wishes(config.wishes_dir)
        wishes.load()
        kept_off = KeptOff(config.maintenance_dir)
        kept_off.load()
        entering = Entering(config)
        keeper = Keeper(config, workers, busy, wishes, kept_off, entering)
        no_arbiter = NoArbiter(config, workers, busy)
        no_arbiter.announce()
        operations = Operations(
            config, workers, busy, wishes, kept_off, entering, keeper, no_arbiter, memory_available_bytes
        )
        workers.reboot = partial(reboots.start_again, operations, busy)
        standbys = Standbys(config, workers, busy, wishes, kept_off, memory_available_bytes)
        evacuation = Evacuation(config, workers, operations.switchover)
        maintenance = Maintenance(config, kept_off, evacuation)
        drills = Drills(config, workers, operations.enter)
        for_peers = drills.answer_peers(standbys.server())
        for_peers.handle(RELEASE_STANDBY, operations.release_standby)
        for_peers.handle(PEER_MAINTENANCE, maintenance.here)
        for_peers.handle(HAS_COPY, no_arbiter.has_copy)
        for_operators = drills.answer_operators(operations.server())
        for_operators.handle(MAINTENANCE, maintenance.operator)
        for_operators.handle(CONFIRM_OFF, no_arbiter.confirm_off)
        await nursery.start(for_peers.serve, peers)
        await nursery.start(for_operators.serve, [control])
        nursery.start_soon(keeper.run)
        nursery.start_soon(notifier.feed_watchdog)
        notifier.ready(_status_line(workers))
        log.info("ready", socket=str(config.control_socket), listen=str(config.control_listen))
        task_status.started()
        await trio.sleep_forever()


def _status_line(workers: Workers) -> str:
    names = [worker.spec.vm for worker in workers.all()]
    return f"{len(names)} VMs: {', '.join(names)}" if names else "no VM runs"


def _make_directories(config: Config) -> None:
    """The runtime directory is the operators'; what lies in workers/ (sockets, tokens) is ours alone."""
    _make_directory(config.runtime_dir, 0o755, "host.runtime_dir", config)
    _make_directory(config.workers_dir, 0o700, "host.runtime_dir", config)


def _make_directory(path: Path, mode: int, key: str, config: Config) -> None:
    try:
        path.mkdir(mode=mode, parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"{config.path}: {key}: cannot create {path}: {error.strerror}") from error
