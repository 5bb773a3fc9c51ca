/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Work that all stopped vCPU threads share: the leader posts it and takes
 * part, the others take pieces while they wait for the stop to end.
 */
#ifndef FTD_SHARE_H
#define FTD_SHARE_H

#include "base.h"

struct ftd_vm;

/* Does items [first, first + n). Called by several threads at once, for pieces that do not overlap. */
typedef void (*share_work)(struct ftd_vm *vm, void *argument, uint32_t first, uint32_t n);

struct share_job {
	_Atomic uint64_t claim;		/* job number << 32 | next item */
	_Atomic uint32_t done;
	uint32_t count, piece;
	share_work work;
	void *argument;
};

struct share_rule {
	uint32_t worth_from;	/* with fewer items, waking the others costs more than they save */
	uint32_t piece;		/* items taken at a time */
};

/*
 * Does all of `count` items; returns when they are done. The caller does them
 * alone, in one piece, if there are few, if the VM has one vCPU, or if it is
 * no vCPU thread. While all vCPUs stand.
 */
void share_post(struct ftd_vm *vm, struct share_rule rule, uint32_t count, share_work work, void *argument);
/* Takes pieces until none is left. */
void share_help(struct ftd_vm *vm);

#endif
