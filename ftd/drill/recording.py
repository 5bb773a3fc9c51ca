"""Puts what a drill, its watch and its probe have seen into one record, on one time scale. No I/O."""

from typing import Final

from ftd import __version__
from ftd.drill.catalogue import Fault
from ftd.drill.record import ANSWER_BIN_S, Answers, Change, Record, Sample, Step
from ftd.drill.run import Limits, Story
from ftd.drill.scene import Scene
from ftd.drill.tally import Tally, binned, longest_gap_s
from ftd.drill.watch import Watch

# After the fault was over a client may take a moment to find the guest.
GAP_AFTER_S: Final = 1.0


def record_of(
    scene: Scene, fault: Fault, limits: Limits, story: Story, watch: Watch, probe: str, tally: Tally
) -> Record:
    """`probe` says in words how the guest was observed."""
    origin_s, view = story.struck_s or story.began_s, scene.view
    return Record(
        version=__version__,
        vm=scene.vm,
        fault=fault.name,
        does=fault.does,
        promised=fault.survivor,
        host=view.host,
        peer=view.peer,
        guest_on=view.peer if fault.from_standby else view.host,
        began_realtime_ns=story.began_realtime_ns,
        heartbeat_timeout_ms=view.heartbeat_timeout_ms,
        blackout_max_ms=limits.blackout_max_ms,
        protect_within_s=limits.protect_within_s,
        begin_s=story.began_s - origin_s,
        end_s=story.ended_s - origin_s,
        generation_before=story.generation_before,
        generation_after=story.generation_after,
        survivor=story.survivor,
        active_at_end=story.active_at_end,
        outcome_s=_since(origin_s, story.outcome_s),
        undone_s=_since(origin_s, story.undone_s) if fault.undo else None,
        protected_again_s=_since(origin_s, story.protected_s),
        asked_to_protect=story.asked_to_protect,
        clock_uncertainty_ms=watch.clock.uncertainty_s * 1000,
        samples=_samples(watch, origin_s),
        changes=[
            Change(at_s=at_s - origin_s, host=host, on=entry.on, before=entry.before, after=entry.after)
            for at_s, host, entry in watch.changes()
            if at_s >= story.began_s
        ],
        steps=[Step(at_s=at_s - origin_s, text=text) for at_s, text in story.steps],
        answers=_answers(story, origin_s, probe, tally),
        problem=story.problem,
    )


def _samples(watch: Watch, origin_s: float) -> list[Sample]:
    return [
        Sample(
            at_s=watch.here_s(seen.host, seen.status.boottime_ns) - origin_s,
            host=seen.host,
            role=seen.status.role,
            state=seen.status.state,
            generation=seen.status.generation,
            epoch=seen.status.epoch,
            heartbeats=seen.status.counters.get("heartbeats_received", 0),
        )
        for seen in watch.seen
    ]


def _answers(story: Story, origin_s: float, probe: str, tally: Tally) -> Answers:
    bins = int((story.ended_s - story.began_s) / ANSWER_BIN_S) + 1
    asked_until_s = story.asked_until_s or story.ended_s
    over_s = max(story.outcome_s or asked_until_s, story.undone_s or origin_s) + GAP_AFTER_S
    gap = longest_gap_s(tally.answer_times_s, origin_s, min(over_s, asked_until_s))
    longest = longest_gap_s(tally.answer_times_s, origin_s, asked_until_s)
    return Answers(
        probe=probe,
        asked=tally.asked,
        answered=tally.answered,
        lost=tally.lost,
        repeated=tally.repeated,
        breaches=tally.breaches,
        bin_s=ANSWER_BIN_S,
        first_bin_s=story.began_s - origin_s,
        bins=binned(tally.answer_times_s, story.began_s, ANSWER_BIN_S, bins),
        gap_begin_s=gap[0] - origin_s if gap else None,
        gap_end_s=gap[1] - origin_s if gap else None,
        longest_wait_s=longest[1] - longest[0] if longest else None,
    )


def _since(origin_s: float, at_s: float | None) -> float | None:
    return None if at_s is None else at_s - origin_s
