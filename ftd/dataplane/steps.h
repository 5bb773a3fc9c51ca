/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The steps of a checkpoint: cycle.c makes them in one go at the stop point,
 * and api.h offers them one by one. While they run, all vCPUs stand. Steps
 * return 0 or -errno; -EPIPE: the peer was lost while waiting.
 */
#ifndef FTD_STEPS_H
#define FTD_STEPS_H

#include "base.h"

struct ftd_primary;

/* A free arena, and fewer than epochs_in_flight epochs that are not acknowledged. */
bool step_has_room(struct ftd_primary *primary);
/*
 * false: given up, because the peer is lost or the VM dies, or, unless
 * `patient`, because a command wants in.
 */
bool step_wait(struct ftd_primary *primary, bool (*condition)(struct ftd_primary *), bool patient);
/* The same, counted: the guest waits because link or standby are slower than it writes. */
bool step_wait_for_room(struct ftd_primary *primary, bool (*room)(struct ftd_primary *), bool patient);

/* First synchronisation: what was written since the last time goes into primary->sync. vm->devices is held. */
int step_collect(struct ftd_primary *primary);
/* The page goes with the epoch: `lines` of it, or all of it for 0. */
void step_ship(struct ftd_primary *primary, uint64_t page, uint64_t lines);
/* vm->devices is held from here to step_seal: device state and memory are of one instant. */
int step_harvest(struct ftd_primary *primary);
/* Fills an arena with the last part of the list, and sends off whole arenas before it. */
int step_copy(struct ftd_primary *primary);
int step_rearm(struct ftd_primary *primary);
int step_capture(struct ftd_primary *primary);
/* The arena holds pages and state; from here on the epoch exists. */
void step_seal(struct ftd_primary *primary);
void step_queue(struct ftd_primary *primary);

#endif
