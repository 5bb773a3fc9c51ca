"""When to try to protect a VM again, with which host, and what is being waited for.

Pure: told facts and the time, tells what to do. Two things are remembered apart, because they end apart:

- a host that does not answer is *away*. All VMs wait for it together, one of them looks after it. It is asked
  often, since protection is to be back within seconds of its return.
- a host that answers and says no has a reason that concerns one VM. It is asked less and less often: most
  reasons need an operator. When it has been away since, what it said before counts no more.

An operator's command in flight comes first: nothing is begun while a VM is busy.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from typing import Final

AWAY_FIRST_S: Final = 0.25
AWAY_MAX_S: Final = 1.0
REFUSED_FIRST_S: Final = 0.25
REFUSED_MAX_S: Final = 5.0
# First synchronisations to one host share its link: a third VM is protected sooner if it waits for the first.
AT_ONCE_PER_HOST: Final = 2


@dataclass(frozen=True)
class Facts:
    """What is known of one VM at one moment."""

    candidates: tuple[str, ...]
    """Hosts that may have its standby, best first."""
    runs_alone: bool
    """Its guest runs here, unprotected."""
    busy: bool = False
    """Something else is being done to it."""
    kept_off: frozenset[str] = frozenset()
    """Hosts onto which nothing may be put."""


@dataclass
class Backoff:
    """Waits between tries: doubling up to a bound, up to half of each taken off at random."""

    first_s: float
    max_s: float
    failures: int = 0
    not_before_s: float = 0.0
    reason: str = ""

    def failed(self, reason: str, now_s: float, jitter: random.Random) -> None:
        """One more time. The exponent is bounded: a host may be away for days."""
        wait_s = min(self.first_s * (1 << min(self.failures, 16)), self.max_s)
        self.failures += 1
        self.not_before_s = now_s + wait_s - jitter.uniform(0, wait_s / 2)
        self.reason = reason


@dataclass
class _Host:
    away: Backoff = field(default_factory=lambda: Backoff(AWAY_FIRST_S, AWAY_MAX_S))
    tried_by: set[str] = field(default_factory=set)

    @property
    def is_away(self) -> bool:
        return self.away.failures > 0

    def may_be_tried(self, now_s: float) -> bool:
        if self.is_away:
            return not self.tried_by and now_s >= self.away.not_before_s
        return len(self.tried_by) < AT_ONCE_PER_HOST


class Pursuits:
    """All VMs of one host. Times are in seconds of any clock that does not go back."""

    def __init__(self, jitter: random.Random) -> None:
        self._jitter = jitter
        self._hosts: dict[str, _Host] = {}
        self._refusals: dict[tuple[str, str], Backoff] = {}
        self._trying: dict[str, str] = {}

    def next_host(self, vm: str, facts: Facts, now_s: float) -> str | None:
        """The host to try now, or None: not now."""
        if not facts.runs_alone or facts.busy or vm in self._trying:
            return None
        for name in facts.candidates:
            refusal = self._refusals.get((vm, name))
            waited = refusal is None or now_s >= refusal.not_before_s
            if name not in facts.kept_off and waited and self._host(name).may_be_tried(now_s):
                return name
        return None

    def begun(self, vm: str, host: str) -> None:
        """``host`` is being asked for a standby of ``vm``. One of the three below follows."""
        self._trying[vm] = host
        self._host(host).tried_by.add(vm)

    def given_up(self, vm: str) -> None:
        """Something else came first. That says nothing about the host."""
        self._host(self._trying.pop(vm)).tried_by.discard(vm)

    def succeeded(self, vm: str) -> None:
        """It is protected."""
        host = self._trying[vm]
        self.given_up(vm)
        self._answered(host)
        self.forget(vm)

    def failed(self, vm: str, reason: str, now_s: float, *, away: bool) -> None:
        """``away``: the host did not answer; else it, or what came after its yes, said ``reason``."""
        host = self._trying[vm]
        self.given_up(vm)
        if away:
            self._host(host).away.failed(reason, now_s, self._jitter)
            return
        self._answered(host)
        refusal = self._refusals.setdefault((vm, host), Backoff(REFUSED_FIRST_S, REFUSED_MAX_S))
        refusal.failed(reason, now_s, self._jitter)

    def forget(self, vm: str) -> None:
        """``vm`` does not run here alone any more: what hosts said of it is of no more use."""
        for key in [key for key in self._refusals if key[0] == vm]:
            del self._refusals[key]

    def waits_for(self, vm: str, facts: Facts) -> str:
        """What stands between a VM that runs alone and its protection; empty: it does not run alone."""
        if not facts.runs_alone:
            return ""
        if vm in self._trying:
            return f"{self._trying[vm]} is being asked for a standby"
        if facts.busy:
            return "the command that is under way"
        if not facts.candidates:
            return "a host that may have the standby: name one in `peers` of its file"
        return "; ".join(self._obstacle(vm, name, facts) for name in facts.candidates)

    def _obstacle(self, vm: str, name: str, facts: Facts) -> str:
        if name in facts.kept_off:
            return f"{name}: in maintenance"
        host = self._host(name)
        if host.is_away:
            return f"{name}: {host.away.reason}"
        refusal = self._refusals.get((vm, name))
        if refusal is not None:
            return f"{name}: {refusal.reason}"
        if len(host.tried_by) >= AT_ONCE_PER_HOST:
            return f"{name}: receives {' and '.join(sorted(host.tried_by))} first"
        return name

    def _answered(self, name: str) -> None:
        host = self._host(name)
        if host.is_away:
            # It is another one now: restarted, or configured anew.
            for key in [key for key in self._refusals if key[1] == name]:
                del self._refusals[key]
            host.away = Backoff(AWAY_FIRST_S, AWAY_MAX_S)

    def _host(self, name: str) -> _Host:
        return self._hosts.setdefault(name, _Host())
