/* SPDX-License-Identifier: Apache-2.0 */
/* What the leader does at the stop point of a VM that has a standby. */
#ifndef FTD_CYCLE_H
#define FTD_CYCLE_H

#include "base.h"

struct ftd_primary;

/* MODE_SYNC: learn what was written, hold the guest back if it must be, or seal epoch 1. */
void cycle_sync_stop(struct ftd_primary *primary);
/* MODE_CYCLE: seal an epoch. `left_guest_ns`: when the first vCPU left the guest. */
void cycle_stop(struct ftd_primary *primary, uint64_t left_guest_ns);
/* A call into KVM failed: protection ends. */
void cycle_failed(struct ftd_primary *primary, int error);

#endif
