"""What a failover drill asks: ftctl of the ftd on its own host, and that one of the ftd of the peer host.

Nothing here works around a rule: a drill sees what each host says of its copy, kills a standby, and asks for
protection as an operator would.
"""

from typing import Final

from ftd import limits
from ftd.protocol.control import (
    ArbiterSpec,
    Count,
    Message,
    Method,
    Name,
    Nothing,
    VmId,
    VmParams,
    WorkerStatus,
)


class DrillViewParams(VmParams, frozen=True, kw_only=True):
    """`peer`: whose copy to look at as well. None: the host that has the standby, or is to have it."""

    peer: Name | None = None


class CopyParams(VmParams, frozen=True, kw_only=True):
    """`host`: who asks."""

    host: Name


class CopyViewParams(CopyParams, frozen=True, kw_only=True):
    """`ask_arbiter`: also read the VM's record, which takes as long as the arbiter does."""

    ask_arbiter: bool = False


class CopyView(Message, frozen=True, kw_only=True):
    """A VM on one host."""

    status: WorkerStatus | None = None
    """None: there is no worker, or it gave no answer."""
    silence: str = ""
    """Why the worker that is there gave no answer."""
    arbiter_silence: str = ""
    """Why the arbiter gave this host none; empty also when it was not asked."""
    boottime_ns: Count
    """CLOCK_BOOTTIME of the host, at the time of the answer."""


class DrillView(Message, frozen=True, kw_only=True):
    """Both copies as this host sees them, arbiter asked, and what a drill must know of this host."""

    host: Name
    daemon_pid: Count
    runtime_dir: str
    arbiter: ArbiterSpec
    vm_id: VmId
    heartbeat_timeout_ms: Count
    can_power_off: bool = False
    """Whether a fence device is configured for the peer."""
    here: CopyView
    peer: Name
    peer_address: str
    """Without a port."""
    there: CopyView | None = None
    """None: the peer's ftd gave no answer."""
    there_silence: str = ""


class DrillPowerParams(VmParams, frozen=True, kw_only=True):
    """`on` false: turn the host `peer` off. Only where this host holds the standby of the VM."""

    peer: Name
    on: bool


class DrillPeerParams(VmParams, frozen=True, kw_only=True):
    """`peer`: the host on which it is to be done."""

    peer: Name


_RELAYED_S: Final = 2 * limits.CONTROL_FRAME_DEADLINE_S + 2 * limits.ARBITER_TIMEOUT_MS_MAX / 1000

DRILL_VIEW: Final = Method("drill_view", DrillViewParams, DrillView, _RELAYED_S)
DRILL_THERE: Final = Method("drill_there", DrillPeerParams, CopyView, _RELAYED_S)
"""The peer's copy, without a word about the one here: that may be stopped, and not answer for seconds."""
DRILL_KILL_STANDBY: Final = Method("drill_kill_standby", DrillPeerParams, Nothing, _RELAYED_S)
DRILL_PROTECT: Final = Method(
    "drill_protect", DrillPeerParams, Nothing, limits.WORKER_LONG_DEADLINE_S + limits.WORKER_READY_DEADLINE_S
)
# An agent runs twice: it acts, and is asked whether it has.
DRILL_POWER: Final = Method("drill_power", DrillPowerParams, Nothing, 2.0 * limits.FENCE_TIMEOUT_S_MAX)
DRILL_OPERATOR_METHODS: Final = (DRILL_VIEW, DRILL_THERE, DRILL_KILL_STANDBY, DRILL_PROTECT, DRILL_POWER)

COPY_VIEW: Final = Method("copy_view", CopyViewParams, CopyView, _RELAYED_S)
KILL_STANDBY: Final = Method("kill_standby", CopyParams, Nothing)
PROTECT: Final = Method("protect", CopyParams, Nothing, DRILL_PROTECT.deadline_s)
DRILL_PEER_METHODS: Final = (COPY_VIEW, KILL_STANDBY, PROTECT)
