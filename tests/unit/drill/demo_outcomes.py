"""A demonstration in which all went well, for tests to spoil."""

from ftd.ctl.rates import Percentiles, Rates
from ftd.drill.demo_figures import Account, Outcome, Protection, Takeover

RATES = Rates(
    checkpoints_per_s=2499.0,
    pages_per_epoch=2.5,
    megabytes_per_s=40.0,
    stalls=0,
    pause=Percentiles(p50_ns=40_000, p99_ns=90_400),
    ack=Percentiles(p50_ns=150_000, p99_ns=1_234_000),
)
PROTECTION = Protection(asked_hz=2500, seconds=10.0, rates=RATES)
TAKEOVER = Takeover(blackout_ms=72.6, generation=2)
ACCOUNT = Account(
    asked=5000, answered=5000, repeated=3, breaches=(), ledger=(5000, 0xFEED), chain=(5000, 0xFEED)
)
GOOD = Outcome(PROTECTION, TAKEOVER, ACCOUNT)
