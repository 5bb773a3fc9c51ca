"""What a demonstration measured, and whether every promise was kept. Pure: figures in, sentences out."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from ftd.ctl.rates import Percentiles, Rates

# Below this share of what was asked for, the closing figures say that the rate was not held.
RATE_HELD_SHARE: Final = 0.996
TAKEOVER_DEADLINE_S: Final = 5.0


@dataclass(frozen=True, slots=True)
class Protection:
    """The time from the first acknowledged epoch to the kill."""

    asked_hz: int
    seconds: float
    rates: Rates

    @property
    def rate_was_held(self) -> bool:
        """Whether the checkpoints came as often as they were asked for."""
        return self.rates.checkpoints_per_s >= RATE_HELD_SHARE * self.asked_hz


@dataclass(frozen=True, slots=True)
class Step:
    """Something that the surviving host wrote into its log."""

    after_kill_ms: float
    text: str
    is_last: bool
    """With it the guest runs."""


@dataclass(frozen=True, slots=True)
class Takeover:
    """What followed the kill."""

    blackout_ms: float | None
    """From the client's last answer before to its first after; None: there was none within the deadline."""
    generation: int


@dataclass(frozen=True, slots=True)
class Account:
    """The client's books at the end."""

    asked: int
    answered: int
    repeated: int
    """Asked again after the kill, and found to have been done before it: done once all the same."""
    breaches: tuple[str, ...]
    ledger: tuple[int, int] | None
    """Last number and hash as the surviving guest names them on a fresh connection; None: it did not."""
    chain: tuple[int, int]
    """The same as the client computed them by itself."""

    @property
    def lost(self) -> int:
        """Requests that never got their answer."""
        return self.asked - self.answered

    @property
    def chain_holds(self) -> bool:
        """Every answer was the chain's, and the guest ends where the client's own computation ends."""
        return not self.breaches and self.ledger == self.chain


@dataclass(frozen=True, slots=True)
class Outcome:
    """A whole demonstration; what is None was not reached."""

    protection: Protection | None = None
    takeover: Takeover | None = None
    account: Account | None = None
    problem: str | None = None
    """What ended it early."""


def broken_promises(outcome: Outcome) -> list[str]:
    """A sentence for each; empty: all were kept."""
    found = [outcome.problem] if outcome.problem else list(_not_reached(outcome))
    if outcome.account is not None:
        found += _broken_account(outcome.account)
    return found


def _not_reached(outcome: Outcome) -> Iterator[str]:
    if outcome.protection is None:
        yield "the guest was never protected"
    if outcome.takeover is None or outcome.takeover.blackout_ms is None:
        yield f"the standby did not answer for the guest within {TAKEOVER_DEADLINE_S:g} s of the kill"
    elif outcome.takeover.generation < 2:
        yield f"the guest runs on in generation {outcome.takeover.generation}: nothing was taken over"
    if outcome.account is None:
        yield "the account was not closed"


def _broken_account(account: Account) -> Iterator[str]:
    if not account.answered:
        yield "the guest answered nothing"
    if account.lost:
        yield f"{account.lost} requests were never answered"
    if not account.chain_holds:
        found = account.breaches or ("the guest's last record is not the client's",)
        yield f"the chain broke: {'; '.join(found)}"


def latency(percentiles: Percentiles) -> str:
    """`p50 / p99` in microseconds."""
    if percentiles.p50_ns is None or percentiles.p99_ns is None:
        return "none counted"
    return f"{percentiles.p50_ns / 1000:,.0f} / {percentiles.p99_ns / 1000:,.0f} µs"


def closing_figures(outcome: Outcome) -> list[tuple[str, str]]:
    """Name and value, in the order in which they are shown."""
    rows: list[tuple[str, str]] = []
    if outcome.protection is not None:
        rows += _protection_rows(outcome.protection)
    if outcome.takeover is not None:
        blackout_ms = outcome.takeover.blackout_ms
        seen = "no answer any more" if blackout_ms is None else f"{blackout_ms:,.0f} ms"
        rows.append(("blackout, as the client saw it", seen))
    if outcome.account is not None:
        rows += _account_rows(outcome.account)
    return rows


def _protection_rows(protection: Protection) -> Iterator[tuple[str, str]]:
    rates = protection.rates
    asked = f"asked for {protection.asked_hz:,}, over {protection.seconds:.1f} s"
    if not protection.rate_was_held:
        asked += ": NOT HELD"
    yield "acknowledged checkpoints a second", f"{rates.checkpoints_per_s:,.1f} ({asked})"
    yield "pause of the guest, p50 / p99", latency(rates.pause)
    yield "seal to acknowledgement, p50 / p99", latency(rates.ack)
    if rates.pages_per_epoch is not None:
        yield "dirty pages an epoch", f"{rates.pages_per_epoch:,.1f}"


def _account_rows(account: Account) -> Iterator[tuple[str, str]]:
    yield "requests answered", f"{account.answered:,} of {account.asked:,}"
    yield "requests lost", f"{account.lost:,}"
    yield "requests repeated", f"{account.repeated:,} (asked again, found done, not done twice)"
    number, value = account.chain
    verdict = "as computed here" if account.chain_holds else "BROKEN"
    yield "chain", f"{number:,} requests end in {value:016x}: {verdict}"


def steps_of(log: str, killed_at: float) -> list[Step]:
    """The takeover, by the surviving worker's log (JSON lines). `killed_at`: `time.time()` of the kill."""
    steps = []
    for line in log.splitlines():
        try:
            entry = json.loads(line)
            written_at = datetime.fromisoformat(entry["timestamp"]).timestamp()
            text = _told(entry)
        except (ValueError, KeyError, TypeError):
            continue  # a line that is not the logger's
        if text and written_at >= killed_at:
            steps.append(Step((written_at - killed_at) * 1000, text, entry["event"] == "activated"))
    return steps


def _told(entry: dict[str, object]) -> str | None:
    if entry["event"] == "peer lost":
        return f"beta notices: {entry['reason']}"
    if entry["event"] == "state" and entry["on"] == "ClaimWon":
        return "beta wins the next generation from the arbiter: alpha, were it alive, could not go on"
    if entry["event"] == "activated":
        return f"the guest runs on beta, in generation {entry['generation']}"
    return None
