"""One copy of a VM on this host: machine, decision core, and what the core's actions mean here."""

from __future__ import annotations

import os
import zlib
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import Any, Final, Literal

import trio

from ftd import disk_record
from ftd.dataplane.core import HANDOVER_DONE, LEAVE_ACK, CycleConfig, Machine, Primary, Standby
from ftd.dataplane.errors import DataplaneError
from ftd.log import get_logger
from ftd.protocol.control import EXIT_REBOOT, GUEST_RUNS, LinkEnds, WorkerSpec
from ftd.protocol.refusal import FrameRefused, Refusal
from ftd.replication import actions as act
from ftd.replication.active import ActiveCore
from ftd.replication.standby import StandbyCore
from ftd.replication.states import ActiveState
from ftd.vm.microvm import machine as microvm
from ftd.vm.microvm.boot import BootError
from ftd.worker import disk_compare, faults
from ftd.worker.claims import Claims, new_claim_id
from ftd.worker.console import ConsoleError, listen
from ftd.worker.history import History
from ftd.worker.network import announce_guest
from ftd.worker.pair import Pair, link_config, link_ends
from ftd.worker.wakefulness import Wakefulness

NS_PER_S: Final = 1_000_000_000
RUN_SHARE_MIN: Final = 4
"""The guest runs for at least this part (a quarter) of a period between two checkpoints."""
log = get_logger(__name__)


class ActionFailed(Exception):
    """An action that the copy's survival depends on could not be carried out."""


class VmCopy:
    """Carries actions out, one after the other. Everything that waits for native threads runs in a thread."""

    def __init__(
        self,
        spec: WorkerSpec,
        machine: Machine,
        core: ActiveCore | StandbyCore,
        claims: Claims,
        tap_fd: int | None = None,
    ) -> None:
        """Takes `tap_fd` over: the guest's, once it runs here."""
        self.spec = spec
        self.machine = machine
        self.core = core
        self.claims = claims
        self.reason = ""
        self.compared_bytes: int | None = None
        """Of the disk, while both images are compared before a pair begins."""
        self.arbiter_silence = ""
        """Why the arbiter gave no answer the last time that it was asked; empty when it did."""
        self.history = History()
        self.link: tuple[LinkEnds, ...] = ()
        self.ended = trio.Event()
        self.primary: Primary | None = None
        self.standby: Standby | None = None
        self.pair: Pair | None = None
        self._tap_fd = tap_fd
        self._announcing = trio.CancelScope()
        self._wakefulness = Wakefulness(wanted=spec.low_latency)
        self._reboot = False
        self._refused_in_handshake: dict[Refusal, int] = {}
        self._performers: Final[dict[type[act.Action], Callable[[Any], Awaitable[None]]]] = {
            act.StartSync: self._start_sync,
            act.GateOutput: self._nothing,
            act.HoldGuest: self._hold_guest,
            act.ResumeSimplex: self._resume_simplex,
            act.ReleaseOutput: self._release_output,
            act.SendLeave: self._send_leave,
            act.DrainGuest: self._drain_guest,
            act.SendHandover: self._send_handover,
            act.ReleaseGeneration: self._release_generation,
            act.StopForever: self._stop_forever,
            act.StopAcknowledging: self._stop_acknowledging,
            act.SendLeaveAck: partial(self._answer, LEAVE_ACK),
            act.SendHandoverDone: partial(self._answer, HANDOVER_DONE),
            act.CloseConnections: self._close_connections,
            act.OutwaitPrimary: self._outwait_primary,
            act.Activate: self._activate,
            act.DropImage: self._drop_image,
        }

    async def perform(self, action: act.Action) -> None:
        """Carries one action out. Raises ActionFailed, DataplaneError."""
        await self._performers[type(action)](action)

    def refused_in_handshake(self, refusal: Refusal) -> int:
        """Connections that were refused before there was a pair."""
        return self._refused_in_handshake.get(refusal, 0)

    def count_refused(self, refused: dict[Refusal, int]) -> None:
        """Adds to the above."""
        self._refused_in_handshake.update(refused)

    def note_reboot(self) -> None:
        """The guest asked for a reboot."""
        self._reboot = True

    @property
    def exit_code(self) -> int:
        """What this process tells ftd by its end: only who had the guest to its end may ask for a new one."""
        return EXIT_REBOOT if self._reboot and self.core.state is ActiveState.STOPPED else 0

    # ---- active side ----

    async def start(self, generation: int) -> None:
        """Boots the guest. Raises DataplaneError, BootError, ConsoleError, OSError."""
        spec = self.spec
        self._record_disk("active", generation)
        self._load()
        console = listen("console", spec.console) if spec.console else None
        serial = listen("serial port", spec.serial) if spec.serial else None
        self._attach_tap()
        self.machine.run()
        self._plug_serial_log()
        if console:
            self.machine.console_listen(console)
        if serial:
            self.machine.serial_listen(serial)
        log.info("guest started", generation=generation, tracker=self.machine.tracker)

    def _load(self) -> None:
        guest = self.spec.guest
        image = Path(guest.image).read_bytes()
        if guest.linux is None:
            microvm.load(self.machine, image, guest.args)
            return
        initrd = Path(guest.linux.initrd).read_bytes() if guest.linux.initrd else b""
        try:
            microvm.load_linux(self.machine, image, initrd, guest.linux.cmdline)
        except BootError as error:
            raise BootError(f"guest.kernel {guest.image}: {error}") from error

    async def _announce(self) -> None:
        """Cancelled before the machine is killed: that happens in a thread, and frees what is used here."""
        if self.spec.net is not None:
            with self._announcing:
                await announce_guest(self.machine, self.spec.net.mac)

    def _attach_tap(self) -> None:
        if self._tap_fd is not None:
            tap_fd, self._tap_fd = self._tap_fd, None
            self.machine.net_attach(tap_fd)

    def _record_disk(self, role: Literal["active", "copy"], generation: int) -> None:
        """Before the image becomes a copy, after it became the guest's: a crash leaves the cautious one."""
        if self.spec.disk is not None:
            record = disk_record.DiskRecord(role=role, generation=generation, path=self.spec.disk.path)
            disk_record.write(Path(self.spec.disk.record), record)

    def _plug_serial_log(self) -> None:
        path = Path(self.spec.socket_path).with_suffix(".serial")
        try:
            self.machine.serial_sink(
                os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o640)
            )
        except OSError as error:
            log.warning("serial output is dropped", path=str(path), reason=error.strerror)

    def cycle_config(self) -> CycleConfig:
        """How this VM is checkpointed."""
        spec = self.spec
        period_ns = NS_PER_S // spec.checkpoint_rate_hz
        return CycleConfig(
            period_ns=period_ns,
            epochs_in_flight=spec.epochs_in_flight,
            hot_pages_max=spec.hot_pages_max,
            # Late checkpoints are made up for, but not at the cost of all of the guest's time.
            run_min_ns=period_ns // RUN_SHARE_MIN,
        )

    async def compare_disks(self, pair: Pair, token: bytes) -> None:
        """Finds what the standby's image lacks, before the first synchronisation.

        To be undone by `forget_differences` if that does not begin. Raises CompareError, DataplaneError.
        """
        if self.machine.disk is None:
            return
        self.machine.watch_disk()
        self.compared_bytes = 0
        try:
            image = disk_compare.Image(self.machine.disk.fd, self.machine.disk.size_bytes, token)
            wire = disk_compare.Wire(pair.data, self.spec.vm_id, self.core.generation, pair.number)
            await trio.to_thread.run_sync(
                partial(disk_compare.find_differences, wire, image, self.machine, self._note_compared),
                abandon_on_cancel=True,
            )
        finally:
            self.compared_bytes = None

    def _note_compared(self, compared_bytes: int) -> None:
        self.compared_bytes = compared_bytes

    def forget_differences(self) -> None:
        """Nothing, once a pair has taken them over."""
        if self.machine.disk is not None:
            self.machine.unwatch_disk()

    async def _nothing(self, _action: act.Action) -> None:
        """The data plane has done it already."""

    async def _start_sync(self, action: act.StartSync) -> None:
        assert self.pair is not None, "EnterRequested comes with a pair"
        pair, self.pair = self.pair, None
        self.link = link_ends(pair)
        link = link_config(self.spec, action.generation, pair)
        self._wakefulness.begin()
        self.primary = await trio.to_thread.run_sync(self.machine.start_primary, link, self.cycle_config())
        self.reason = ""
        log.info("first synchronisation begins", peer=action.peer, generation=action.generation)

    async def _hold_guest(self, _action: act.HoldGuest) -> None:
        await trio.to_thread.run_sync(self.machine.pause)

    async def _end_pair(self, *, release_output: bool, resume_guest: bool) -> None:
        if self.primary is not None:
            primary, self.primary = self.primary, None
            end = partial(primary.end, release_output=release_output, resume_guest=resume_guest)
            await trio.to_thread.run_sync(end)
            self._wakefulness.end()

    async def _resume_simplex(self, action: act.ResumeSimplex) -> None:
        faults.passed("simplex.before-resume")
        if self.primary is None:
            self.machine.resume()
        await self._end_pair(release_output=True, resume_guest=True)
        self.history.passed(GUEST_RUNS, self.core.state)
        await self._claim_disk(action.generation)
        log.info("the guest runs alone", generation=action.generation)

    async def _release_output(self, _action: act.ReleaseOutput) -> None:
        await self._end_pair(release_output=True, resume_guest=False)

    # Without a pair the next three have nobody to speak to: its start failed, and PeerLost is on its way.

    async def _send_leave(self, _action: act.SendLeave) -> None:
        if self.primary is not None:
            await trio.to_thread.run_sync(self.primary.leave)

    async def _drain_guest(self, _action: act.DrainGuest) -> None:
        if self.primary is not None:
            await trio.to_thread.run_sync(self.primary.drain)

    async def _send_handover(self, _action: act.SendHandover) -> None:
        if self.primary is not None:
            self.primary.handover()

    async def _release_generation(self, action: act.ReleaseGeneration) -> None:
        await self.claims.release(action.generation)

    async def _stop_forever(self, action: act.StopForever) -> None:
        self._announcing.cancel()
        await self._end_pair(release_output=False, resume_guest=False)
        await trio.to_thread.run_sync(self.machine.kill)
        self._end(action.reason)

    def _end(self, reason: str) -> None:
        self.reason = reason
        log.info("ended", reason=reason)
        self.ended.set()

    # ---- standby side ----

    async def tell_digests(self, pair: Pair, token: bytes) -> None:
        """Before `begin_standby`: the primary learns what this image lacks. Raises CompareError."""
        disk = self.machine.disk
        if disk is not None:
            image = disk_compare.Image(disk.fd, disk.size_bytes, token)
            wire = disk_compare.Wire(pair.data, self.spec.vm_id, self.core.generation, pair.number)
            await trio.to_thread.run_sync(disk_compare.tell, wire, image, abandon_on_cancel=True)

    def begin_standby(self, pair: Pair) -> None:
        """The primary came. Raises DataplaneError, OSError."""
        self._record_disk("copy", self.core.generation)
        self._wakefulness.begin()
        self.link = link_ends(pair)
        self.standby = self.machine.start_standby(link_config(self.spec, self.core.generation, pair))

    async def stop_standby(self) -> None:
        """Acknowledge no more; whole epochs that have arrived are committed."""
        if self.standby is not None:
            await trio.to_thread.run_sync(self.standby.stop)

    async def _stop_acknowledging(self, _action: act.StopAcknowledging) -> None:
        await self.stop_standby()

    async def _answer(self, frame_type: int, _action: act.Action) -> None:
        if self.standby is not None:
            self.standby.answer(frame_type)

    async def _close_connections(self, _action: act.CloseConnections) -> None:
        if self.standby is not None:
            await trio.to_thread.run_sync(self.standby.close)
            self._retire_standby()

    async def _outwait_primary(self, _action: act.OutwaitPrimary) -> None:
        if self.standby is not None:
            await self.stop_standby()
            await trio.to_thread.run_sync(self.standby.outwait)

    def _retire_standby(self) -> None:
        """Once the guest runs, nothing of the standby is needed; before, its memory is not worth the wait."""
        if self.standby is not None and isinstance(self.core, ActiveCore):
            standby, self.standby = self.standby, None
            self._wakefulness.end()
            trio.lowlevel.spawn_system_task(trio.to_thread.run_sync, standby.free)

    async def _activate(self, action: act.Activate) -> None:
        assert isinstance(self.core, StandbyCore)
        assert self.standby is not None, "only a standby with a whole epoch activates"
        await self.stop_standby()
        blob = self.standby.state()
        faults.passed("activate.before-restore")
        try:
            microvm.restore(self.machine, blob)
            self._attach_tap()
        except (FrameRefused, DataplaneError) as error:
            raise ActionFailed(f"the checkpoint cannot be restored: {error}") from error
        faults.passed("activate.before-run")
        self.machine.run()
        faults.passed("activate.running")
        trio.lowlevel.spawn_system_task(self._announce)
        seed = zlib.crc32(self.spec.host.encode())
        self.core = ActiveCore.after_failover(self.core, new_claim_id=new_claim_id, jitter_seed=seed)
        self.history.passed(GUEST_RUNS, self.core.state)
        self._plug_sockets()
        self._plug_serial_log()
        await self._claim_disk(action.generation)
        if not action.planned:  # a planned one still has to say so to the old primary
            self._retire_standby()
        log.info("activated", generation=action.generation, planned=action.planned, forced=action.forced)

    async def _claim_disk(self, generation: int) -> None:
        """The guest runs already: a record that cannot be written must not end it."""
        try:
            await trio.to_thread.run_sync(self._record_disk, "active", generation)
        except OSError as error:
            self.reason = f"{error.filename}: {error.strerror}: a later start from this image needs --force"
            log.error("the disk's record is not written", reason=self.reason)

    def _plug_sockets(self) -> None:
        """A guest without a console is better than no guest."""
        for what, address, plug in (
            ("console", self.spec.console, self.machine.console_listen),
            ("serial port", self.spec.serial, self.machine.serial_listen),
        ):
            if address:
                try:
                    plug(listen(what, address))
                except ConsoleError as error:
                    self.reason = str(error)
                    log.error("not reachable", what=what, reason=str(error))

    async def _drop_image(self, action: act.DropImage) -> None:
        if self.standby is not None:
            standby, self.standby = self.standby, None
            await trio.to_thread.run_sync(standby.free)
        self._end(action.reason)
