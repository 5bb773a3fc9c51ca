/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Maps a standby's memory for its vCPUs before they run. A guest that was
 * taken over would else leave to KVM at the first touch of every page: where
 * its memory is large, for seconds after the takeover proper.
 *
 * A thread of its own, nicer than others, from the pair's start until its end
 * or the takeover. Where KVM cannot do it (before Linux 6.11, or without nested
 * paging) it does nothing.
 */
#ifndef FTD_PREFAULT_H
#define FTD_PREFAULT_H

#include <pthread.h>

#include "base.h"

struct ftd_vm;

struct prefault {
	struct ftd_vm *vm;
	pthread_t thread;
	bool started;
	_Atomic bool stop;
};

/* Best effort: a guest whose memory is not mapped ahead is slow at first, no more. */
void prefault_start(struct prefault *prefault, struct ftd_vm *vm);
/* Returns when vCPU 0 is free again: within the time that some pages take. Any number of times. */
void prefault_stop(struct prefault *prefault);

#endif
