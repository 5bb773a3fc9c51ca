"""A drill as an operator starts it: looked at first, refused or described, confirmed, run, recorded."""

import signal
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import trio

from ftd.drill import preflight, probes, strikes
from ftd.drill.catalogue import FAULTS, Fault
from ftd.drill.lock import DrillLock, Undo, drill_lock
from ftd.drill.record import Record
from ftd.drill.recording import record_of
from ftd.drill.run import Drill, Limits
from ftd.drill.scene import Call, Scene
from ftd.drill.strikes import Strike
from ftd.errors import ControlError, ErrorKind
from ftd.protocol.control_drill import DRILL_VIEW, DrillView, DrillViewParams

BLACKOUT_ALLOWANCE_MS = 1000
"""On top of the heartbeat timeout: what a drill grants where it is told no limit."""


@dataclass(frozen=True, slots=True)
class Wish:
    """What was asked for. `blackout_max_ms` None: the heartbeat timeout and BLACKOUT_ALLOWANCE_MS."""

    vm: str
    fault: str
    probe: str
    blackout_max_ms: int | None
    protect_within_s: float
    hold_s: float
    dry_run: bool = False


class NotHereError(ControlError):
    """The guest does not run on this host."""


async def run(
    call: Call, wish: Wish, say: Callable[[str], None], confirm: Callable[[str], None]
) -> Record | None:
    """None: it was only described, or interrupted; what it had done is undone then, and said.

    `confirm` raises to refuse. Raises ControlError, and then nothing was changed unless the message says so.
    """
    fault = _fault(wish.fault)
    view = await _view(call, wish.vm)
    async with drill_lock(Path(view.runtime_dir), wish.vm, fault.name) as lock:
        if await _put_right(lock, wish, say):
            view = await _view(call, wish.vm)
        scene = Scene(wish.vm, view, call)
        strike = await _ready(scene, fault, wish.vm)
        if wish.dry_run:
            probe_text = wish.probe if wish.probe != "console" else ", ".join(preflight.consoles(scene))
            _describe(fault, strike, scene, _limits(wish, view), probe_text, say)
            lock.clear()
            return None
        probe = probes.make(wish.probe, preflight.consoles(scene) if wish.probe == "console" else ())
        confirm(f"VM {wish.vm}: {strike.plan}")
        await probe.begin()
        _unchanged(scene, fault, await _view(call, wish.vm))
        limits = _limits(wish, view)
        drill = Drill(scene, fault, strike, probe, limits, lock, say)
        finished = await _until_interrupted(drill)
        lock.clear()
        if not finished:
            say(_interrupted(drill, fault, wish.vm))
            return None
        return record_of(scene, fault, limits, drill.story, drill.watch, probe.describe, probe.tally)


def _fault(name: str) -> Fault:
    if name not in FAULTS:
        raise ControlError(
            ErrorKind.BAD_REQUEST, f"no fault {name}; `ftctl drill --list` shows what there is"
        )
    return FAULTS[name]


async def _view(call: Call, vm: str) -> DrillView:
    return await call(DRILL_VIEW, DrillViewParams(vm=vm))


async def _put_right(lock: DrillLock, wish: Wish, say: Callable[[str], None]) -> bool:
    """What a drill that died has left. True: something was done. A dry run only says it."""
    leftover = lock.leftover
    if leftover is None or leftover.undo == Undo():
        return False
    say(f"an earlier drill ({leftover.fault}, pid {leftover.pid}) died before it could undo what it had done")
    if wish.dry_run:
        message = "a drill that is no dry run undoes it first"
        raise ControlError(
            ErrorKind.WRONG_STATE, f"{leftover.undo.describe()} is still to be undone; {message}"
        )
    done = await leftover.undo.carry_out()
    for text in done:
        say(text)
    lock.clear()
    return bool(done)


async def _ready(scene: Scene, fault: Fault, vm: str) -> Strike:
    try:
        preflight.check(vm, scene.view, fault)
    except ControlError as error:
        if preflight.is_elsewhere(scene.view, fault):
            raise NotHereError(error.kind, error.message) from error
        raise
    strike = strikes.make(fault.name, scene)
    await strike.check()
    await preflight.check_epochs(scene)
    return strike


def _unchanged(scene: Scene, fault: Fault, now: DrillView) -> None:
    """An operator may have thought for long before he confirmed. Raises ControlError."""
    preflight.check(scene.vm, now, fault)
    before, status = scene.here, now.here.status
    assert status is not None, "checked"
    if (before.pid, before.generation, before.link) != (status.pid, status.generation, status.link):
        message = (
            f"VM {scene.vm} was moved or protected anew meanwhile: nothing was done, start the drill again"
        )
        raise ControlError(ErrorKind.WRONG_STATE, message)


def _limits(wish: Wish, view: DrillView) -> Limits:
    blackout_max_ms = wish.blackout_max_ms
    if blackout_max_ms is None:
        blackout_max_ms = view.heartbeat_timeout_ms + BLACKOUT_ALLOWANCE_MS
    return Limits(blackout_max_ms, wish.protect_within_s, wish.hold_s)


def _describe(
    fault: Fault, strike: Strike, scene: Scene, limits: Limits, probe: str, say: Callable[[str], None]
) -> None:
    say(f"dry run of {fault.name} on VM {scene.vm}, started on {scene.view.host}; nothing is done")
    say(f"it takes: {fault.needs}")
    for number, text in enumerate(preflight.CHECKS, 1):
        say(f"check {number}: {text}" + ("" if number < len(preflight.CHECKS) else " (not tried now)"))
    steps = [f"observe the guest at {probe}", strike.plan]
    if fault.moves_generation:
        steps.append(f"wait until one host runs the guest in the next generation: {fault.survivor.value}")
    elif fault.undone_after_hold:
        steps.append(f"leave it so for {limits.hold_s:g} s; the guest must stay protected")
    else:
        steps.append("wait until ftd was started again; the guest must stay protected")
    if fault.undo:
        steps.append(f"undo: the drill {fault.undo}")
    if fault.moves_generation:
        steps.append(f"wait until it is protected again, {limits.protect_within_s:g} s at most; else enter")
    steps.append(
        f"judge: no answer lost, nothing undone, {limits.blackout_max_ms:,} ms without answers at most"
    )
    for number, text in enumerate(steps, 1):
        say(f"step {number}: {text}")


async def _until_interrupted(drill: Drill) -> bool:
    """False: a signal came. Not KeyboardInterrupt, which could strike amid the undoing."""
    finished, refusals = False, list[ControlError]()
    with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM, signal.SIGHUP) as signals:
        async with trio.open_nursery() as nursery:

            async def watch() -> None:
                async for _ in signals:
                    nursery.cancel_scope.cancel()

            nursery.start_soon(watch)
            try:
                await drill.run()
                finished = True
            except ControlError as error:
                refusals.append(error)  # out of the nursery it would come wrapped in a group
            nursery.cancel_scope.cancel()
    for refusal in refusals:
        raise refusal
    return finished


def _interrupted(drill: Drill, fault: Fault, vm: str) -> str:
    if drill.story.struck_s is None:
        return "interrupted before the fault: nothing was done"
    what = "what lasted of it is undone" if fault.undo else "there was nothing to undo"
    return (
        f"interrupted after the fault: {what}; where the guest runs now: `ftctl status {vm}`, here or there"
    )
