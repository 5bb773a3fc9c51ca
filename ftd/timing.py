"""How heartbeats, watchdog and timeout hang together: what must be true of them so that nobody is taken for
dead without cause, and that the one copy has stopped before the other may begin."""

from typing import Final

from ftd.config_schema import ReplicationSection
from ftd.limits import HEARTBEATS_PER_TIMEOUT_MIN

ECHO_MS_MIN: Final = 5
"""What is left for an echo's way there and back, and for two busy hosts."""
SLACK_MS_MIN: Final = 5
SLACK_PARTS: Final = 10
"""The slack between watchdog and timeout is at least a tenth of the timeout: it covers clocks that run at
different rates, and the moment between the last look at the clock and the write."""


def watchdog_ms(replication: ReplicationSection) -> int:
    """Age at which an echo proves nothing any more, with the default filled in; in ms."""
    return replication.watchdog_ms or replication.heartbeat_timeout_ms // 2


def timing_error(replication: ReplicationSection) -> str | None:
    """Key and reason, with the sum, when these times do not fit together. None: they do."""
    interval, timeout = replication.heartbeat_interval_ms, replication.heartbeat_timeout_ms
    watchdog, slack = watchdog_ms(replication), max(SLACK_MS_MIN, timeout // SLACK_PARTS)
    needed = HEARTBEATS_PER_TIMEOUT_MIN * interval
    if timeout < needed:
        return (
            f"heartbeat_timeout_ms: {timeout} is less than {HEARTBEATS_PER_TIMEOUT_MIN} x "
            f"heartbeat_interval_ms ({needed}): one late heartbeat would look like a dead host"
        )
    said = f"watchdog_ms {watchdog}" + ("" if replication.watchdog_ms else " (half of heartbeat_timeout_ms)")
    if interval + ECHO_MS_MIN > watchdog:
        return (
            f"watchdog_ms: heartbeat_interval_ms {interval} + {ECHO_MS_MIN} for the echo = "
            f"{interval + ECHO_MS_MIN} is more than {said}: output would wait although nothing is wrong"
        )
    if watchdog + slack > timeout:
        return (
            f"watchdog_ms: {said} + slack {slack} = {watchdog + slack} is more than heartbeat_timeout_ms "
            f"{timeout}: the standby might become active before this host has stopped its output"
        )
    return None
