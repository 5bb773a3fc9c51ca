/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Keeps the threads that serve a pair off the processors that run its vCPUs.
 *
 * A vCPU that seals an epoch wakes the sender. The scheduler likes to place
 * the woken thread where it was woken, and it then runs instead of the vCPU:
 * the guest stands for as long as a send takes. So, as long as other
 * processors are left, sender and io thread may not run where vCPUs do. vCPUs
 * are not bound: they are followed.
 */
#ifndef FTD_PLACEMENT_H
#define FTD_PLACEMENT_H

#include <sched.h>
#include <stdbool.h>
#include <sys/types.h>

struct ftd_vm;

#define PLACED_MAX 4

struct placement {
	cpu_set_t allowed;		/* of the process, when protection began */
	cpu_set_t applied;
	_Atomic pid_t tids[PLACED_MAX];	/* 0: none */
};

void placement_init(struct placement *placement);
/* Looks where the vCPUs were at their last stop, and moves the threads if that has changed. */
void placement_follow(struct placement *placement, struct ftd_vm *vm);
/* The threads may run anywhere again. */
void placement_end(struct placement *placement);

#endif
