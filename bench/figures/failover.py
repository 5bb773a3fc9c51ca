"""How long a client outside sees nothing."""

import signal
from collections.abc import Iterator
from dataclasses import asdict

from bench.blackout import blackouts
from bench.model import NotMeasuredError, Row, Target, percentile, row
from bench.product import measure
from bench.side_by_side import Bench

HEARTBEAT_TIMEOUT_MS = 100
DEATHS, DEATHS_QUICK = 50, 8
DETECTION_SLACK_MS = 10
ACTIVATION = Target(20, at_most=True)
TAKEOVER_MIB = 1024
ALLOWED_MS = {signal.SIGKILL: 150, signal.SIGSTOP: HEARTBEAT_TIMEOUT_MS + 50}


def blackout(bench: Bench) -> Iterator[Row]:
    """After the primary's worker dies, and after it falls silent with its connections open."""
    count = DEATHS_QUICK if bench.quick else DEATHS
    for kill_signal, allowed_ms in ALLOWED_MS.items():
        what = f"blackout of {count} {kill_signal.name}, timeout {HEARTBEAT_TIMEOUT_MS} ms"
        target = Target(allowed_ms, at_most=True)
        try:
            blacked_out = measure(blackouts, kill_signal, count, HEARTBEAT_TIMEOUT_MS)
        except NotMeasuredError as error:
            yield row(f"p99 {what}", "ms", None, target=target, note=str(error))
            continue
        bench.keep("product", what, blackouts=[asdict(one) for one in blacked_out])
        seen_ms = [1e3 * one.seen_s for one in blacked_out]
        yield row(f"p50 {what}", "ms", percentile(seen_ms, 50))
        yield row(f"p99 {what}", "ms", percentile(seen_ms, 99), target=target)


def takeover(bench: Bench) -> Iterator[Row]:
    """Within a blackout after silence: until it is noticed, and, once decided, until the guest runs."""
    count = DEATHS_QUICK if bench.quick else DEATHS
    detection = f"detection of {count} SIGSTOP, timeout {HEARTBEAT_TIMEOUT_MS} ms"
    activation = f"activation after the decision, {TAKEOVER_MIB:,} MiB"
    by_silence = Target(HEARTBEAT_TIMEOUT_MS + DETECTION_SLACK_MS, at_most=True)
    try:
        seen = measure(blackouts, signal.SIGSTOP, count, HEARTBEAT_TIMEOUT_MS, TAKEOVER_MIB)
    except NotMeasuredError as error:
        yield row(f"p99 {detection}", "ms", None, target=by_silence, note=str(error))
        yield row(f"p99 {activation}", "ms", None, target=ACTIVATION, note=str(error))
        return
    takeovers = [one.takeover for one in seen if one.takeover is not None]
    bench.keep("product", detection, takeovers=[asdict(one) for one in takeovers])
    for what, target, times_ms in (
        (detection, by_silence, [1e3 * one.detected_s for one in takeovers]),
        (activation, ACTIVATION, [1e3 * one.activated_s for one in takeovers]),
    ):
        yield row(f"p50 {what}", "ms", percentile(times_ms, 50))
        yield row(f"p99 {what}", "ms", percentile(times_ms, 99), target=target)
