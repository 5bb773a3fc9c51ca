"""From a record to figures and a verdict. Pure."""

from collections.abc import Iterator

import msgspec

from ftd.drill.catalogue import Survivor
from ftd.drill.record import Change, Record
from ftd.protocol.control import GUEST_RUNS, LOSS_SEEN

# What tells the side that goes on that it is its turn.
_NOTICED = (LOSS_SEEN, "PeerLost", "Handover")
_MS_PER_S = 1000


class Figures(msgspec.Struct, frozen=True, kw_only=True):
    """In milliseconds, or seconds; None: it did not happen, or nobody saw it."""

    detection_ms: float | None
    """From the fault until the host that goes on noticed."""
    decision_ms: float | None
    """From there until it had won the next generation."""
    activation_ms: float | None
    """From there until the guest ran."""
    blackout_ms: float | None
    """The longest time without an answer at the observer, from the fault until it was over."""
    longest_wait_ms: float | None
    """The same until the drill ended: what protecting again costs shows here."""
    protected_again_s: float | None


class Check(msgspec.Struct, frozen=True):
    """One thing that had to be, and what was found."""

    what: str
    found: str
    kept: bool


class Verdict(msgspec.Struct, frozen=True):
    """All of it."""

    passed: bool
    checks: list[Check]


def figures_of(record: Record) -> Figures:
    """What the timeline says in numbers."""
    own = [change for change in record.changes if change.host == record.survivor and change.at_s >= 0]
    if record.promised is Survivor.UNMOVED:
        own = []
    noticed = _first(own, *_NOTICED, after_s=0.0)
    won = _first(own, "ClaimWon", after_s=noticed)
    runs = _first(own, GUEST_RUNS, after_s=won)
    begin_s, end_s = record.answers.gap_begin_s, record.answers.gap_end_s
    longest_s = record.answers.longest_wait_s
    return Figures(
        detection_ms=None if noticed is None else noticed * _MS_PER_S,
        decision_ms=_between(noticed, won),
        activation_ms=_between(won, runs),
        blackout_ms=None if begin_s is None or end_s is None else (end_s - begin_s) * _MS_PER_S,
        longest_wait_ms=None if longest_s is None else longest_s * _MS_PER_S,
        protected_again_s=None if record.promised is Survivor.UNMOVED else record.protected_again_s,
    )


def _first(changes: list[Change], *on: str, after_s: float | None) -> float | None:
    if after_s is None:
        return None
    return next((change.at_s for change in changes if change.on in on and change.at_s >= after_s), None)


def _between(begin_s: float | None, end_s: float | None) -> float | None:
    return None if begin_s is None or end_s is None else (end_s - begin_s) * _MS_PER_S


def verdict_of(record: Record) -> Verdict:
    """Passed: the drill came to its end, and every check was kept."""
    checks = list(_checks(record, figures_of(record)))
    return Verdict(all(check.kept for check in checks), checks)


def _checks(record: Record, figures: Figures) -> Iterator[Check]:
    if record.problem:
        yield Check("the drill comes to its end", record.problem, False)
    yield _survivor(record)
    yield _generation(record)
    found = " and ".join(record.active_at_end) or "no host"
    yield Check("one host runs the guest at the end", found, len(record.active_at_end) == 1)
    answers = record.answers
    yield Check("no answer is lost", f"{answers.lost} of {answers.asked} lost", not answers.lost)
    broken = "; ".join(answers.breaches[:3]) or f"{answers.answered} answers judged"
    yield Check("nothing that was seen is undone", broken, bool(answers.answered) and not answers.breaches)
    yield _blackout(record, figures)
    yield _protection(record)


def _survivor(record: Record) -> Check:
    expected = {
        Survivor.PEER: (record.peer,),
        Survivor.HERE: (record.host,),
        Survivor.UNMOVED: (record.host,),
        Survivor.EITHER: (record.host, record.peer),
    }[record.promised]
    found = f"{record.survivor} runs it" if record.survivor else "nobody was seen to run it"
    what = f"the guest goes on, on {' or '.join(expected)}"
    return Check(what, found, record.survivor in expected)


def _generation(record: Record) -> Check:
    grows = record.promised is not Survivor.UNMOVED
    expected = record.generation_before + grows
    what = "one generation is won" if grows else "no generation is won: no failover without a cause"
    found = f"{record.generation_before}, then {record.generation_after or 'none'}"
    return Check(what, found, record.generation_after == expected)


def _blackout(record: Record, figures: Figures) -> Check:
    what = f"the observer waits for {record.blackout_max_ms:,} ms at most"
    if figures.longest_wait_ms is None:
        return Check(what, "it had no answer before the fault", False)
    return Check(
        what, f"{figures.longest_wait_ms:,.0f} ms", figures.longest_wait_ms <= record.blackout_max_ms
    )


def _protection(record: Record) -> Check:
    if record.promised is Survivor.UNMOVED:
        own = [sample.state for sample in record.samples if sample.host == record.host and sample.at_s >= 0]
        other = sorted({state for state in own if state != "protected"})
        found = f"it was {' and '.join(other)}" if other else f"in {len(own)} of {len(own)} samples"
        return Check("the guest stays protected", found, bool(own) and not other)
    what = f"protected again within {record.protect_within_s:g} s"
    if record.protected_again_s is None:
        return Check(what, "it was not", False)
    how = "asked for by the drill" if record.asked_to_protect else "by itself"
    found = f"after {record.protected_again_s:.1f} s, {how}"
    return Check(what, found, record.protected_again_s <= record.protect_within_s + _grace_s(record))


def _grace_s(record: Record) -> float:
    """The time counts from when the fault was over, not from the fault."""
    return max(record.outcome_s or 0.0, record.undone_s or 0.0)
