/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Keeps checkpoints from starving the guest on a host that is short of
 * processors.
 *
 * A checkpoint costs processor time, also of the threads that send it. Where
 * the vCPUs have no processor to themselves, a rate that is too high for the
 * host leaves the guest nothing: it makes no progress, and answers nobody, while
 * checkpoint follows checkpoint. So the time that vCPU threads wait for a
 * processor is watched, and while that is more than a third of all time, the time between
 * two checkpoints grows; it shrinks again while it is less than a sixth.
 */
#ifndef FTD_PACE_H
#define FTD_PACE_H

#include "base.h"
#include "vm.h"

#define PACE_ONE 16u			/* a stretch of 1 */
#define PACE_STRETCH_MAX (64 * PACE_ONE)
#define PACE_PERIOD_MAX_NS (50 * FTD_MS)	/* never stretched beyond this */

struct pace {
	int fds[VCPUS_MAX];		/* schedstat of the vCPUs' threads; -1: not open, or not to be had */
	uint64_t waited_ns[VCPUS_MAX];	/* until the last look */
	uint64_t looked_ns;		/* 0: not yet */
	_Atomic uint32_t stretch;	/* of the period, in 1/PACE_ONE */
};

/* The stretch after a time in which a vCPU waited for a processor for so long. */
uint32_t pace_next(uint32_t stretch, uint64_t waited_ns, uint64_t elapsed_ns);
/* The time between two checkpoints that are `period_ns` apart unstretched. */
uint64_t pace_stretched(uint32_t stretch, uint64_t period_ns);

void pace_init(struct pace *pace);
/* Now and then, by one thread: looks how long the vCPUs waited. Where the kernel does not say, nothing is stretched. */
void pace_follow(struct pace *pace, const struct ftd_vm *vm);
void pace_end(struct pace *pace);

#endif
