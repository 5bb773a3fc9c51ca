"""Every limit that more than one place relies on, why it is what it is, and how they hang together.

Limits of the data plane (`ftd/dataplane/`) that configuration must respect stand here too.
"""

from typing import Final

PAGE_BYTES: Final = 4096

# Control connection. A status with full histograms takes about 100 KiB; no request needs more than a few.
CONTROL_FRAME_BYTES_MAX: Final = 1 << 20
CONTROL_REQUESTS_IN_FLIGHT_MAX: Final = 64
CONTROL_CONNECTIONS_MAX: Final = 128
# A peer that began a frame must finish it, and must take our answer, within this time.
CONTROL_FRAME_DEADLINE_S: Final = 5.0
CONTROL_CONNECT_DEADLINE_S: Final = 3.0

# A VM's name is a file name below runtime_dir, and a Unix socket's path has 107 bytes at most.
NAME_LENGTH_MAX: Final = 63
UNIX_PATH_BYTES_MAX: Final = 107

TOKEN_BYTES: Final = 16
VM_ID_BYTES: Final = 16

# Machine. Memory is mapped and registered with KVM in large pages of 2 MiB.
MEMORY_STEP_MIB: Final = 2
MEMORY_MIB_MAX: Final = 4 << 20
VCPUS_MAX: Final = 8
GUEST_ARGS_MAX: Final = 8

# Network. IPv6 asks for 1280; the data plane has room for a frame of 9000 (NET_MTU_MAX in net.h).
MTU_MIN: Final = 1280
MTU_MAX: Final = 9000

# Epochs. An arena must hold what one vCPU may dirty before it is made to exit, hence the minimum; the maximum
# keeps a frame's 32-bit page length (pages * 4096) far from its end.
EPOCH_PAGES_MIN: Final = 64
EPOCH_PAGES_MAX: Final = 65536
PARTS_MAX: Final = 64
EPOCHS_IN_FLIGHT_MAX: Final = 16
HOT_PAGES_MAX: Final = 65536
CHECKPOINT_RATE_HZ_MAX: Final = 20_000
# An epoch's log of the disk: a piece of a request, and a batch of the first synchronisation, must fit it.
EPOCH_DISK_KIB_MIN: Final = 512
EPOCH_DISK_KIB_MAX: Final = 65536

# Heartbeats. One lost or late heartbeat must not look like a dead host; three in a row may.
HEARTBEAT_INTERVAL_MS_MAX: Final = 10_000
HEARTBEAT_TIMEOUT_MS_MAX: Final = 60_000
HEARTBEATS_PER_TIMEOUT_MIN: Final = 3
CONNECT_TIMEOUT_S_MAX: Final = 300

# Arbiter. A cluster may take two seconds to elect a leader; a worker that starts asks twice.
ARBITER_TIMEOUT_MS_MIN: Final = 100
ARBITER_TIMEOUT_MS_MAX: Final = 20_000
ARBITER_ENDPOINTS_MAX: Final = 9

# A failover changes state some five times; a status must stay small.
HISTORY_ENTRIES_MAX: Final = 64

# A fence device may take a minute; a host that is to lose a duel waits longer than the other's takes.
FENCE_DELAY_S_MAX: Final = 300
FENCE_TIMEOUT_S_MAX: Final = 600

# Supervision by ftd. A stop has to free all of a guest's memory.
WORKER_READY_DEADLINE_S: Final = 60.0
# A standby allocates all of its guest's memory before it is ready; slow machines manage 200 MB/s.
STANDBY_RESERVE_BYTES_PER_S: Final = 100 << 20
WORKER_STATUS_DEADLINE_S: Final = 2.0
WORKER_STOP_DEADLINE_S: Final = 20.0
# First synchronisation, leave and switchover end by themselves (a silent peer is noticed by heartbeats);
# this deadline is for a worker that is wedged.
WORKER_LONG_DEADLINE_S: Final = 3600.0
# All VMs of a host, one after the other. Whoever gives up waiting does not stop it.
MAINTENANCE_DEADLINE_S: Final = 4 * WORKER_LONG_DEADLINE_S
# Memory that a host keeps for itself when it is asked to hold a standby.
HOST_RESERVE_BYTES: Final = 128 << 20


def ready_deadline_s(memory_bytes: int) -> float:
    """How long a worker may take until it is ready."""
    return WORKER_READY_DEADLINE_S + memory_bytes / STANDBY_RESERVE_BYTES_PER_S


assert EPOCH_PAGES_MAX * PAGE_BYTES < 1 << 32, "pages_len of a data frame has 32 bits"
assert EPOCH_PAGES_MIN <= EPOCH_PAGES_MAX
assert HEARTBEAT_INTERVAL_MS_MAX * HEARTBEATS_PER_TIMEOUT_MIN <= HEARTBEAT_TIMEOUT_MS_MAX
assert CONTROL_FRAME_BYTES_MAX < 1 << 32, "a control frame's length has 32 bits"
assert 2 * ARBITER_TIMEOUT_MS_MAX / 1000 < WORKER_READY_DEADLINE_S
assert WORKER_STATUS_DEADLINE_S < CONTROL_FRAME_DEADLINE_S < WORKER_READY_DEADLINE_S < WORKER_LONG_DEADLINE_S
