/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A standby's disk: applies what epochs wrote, in order, on the receiver's
 * thread, and syncs in the background what the guest flushed. After the first
 * error nothing is applied any more, and nobody may activate from this disk.
 */
#ifndef FTD_STANDBY_DISK_H
#define FTD_STANDBY_DISK_H

#include <pthread.h>

#include "base.h"

struct ftd_vm;

struct standby_disk {
	int fd;				/* the machine's */
	uint64_t bytes;
	char *staged;			/* an epoch's log, or a DISK frame's, as it came */
	uint32_t staged_max;
	_Atomic int error;		/* errno of the first failure */
	_Atomic uint32_t wanted;	/* futex: syncs asked for */
	_Atomic uint32_t synced;	/* the last one that was asked for when a sync began that has ended */
	_Atomic bool stopping;
	pthread_t thread;
	bool started;
};

/* 0, also for a machine without a disk; or -1 with *error. */
int standby_disk_start(struct standby_disk *disk, struct ftd_vm *vm, uint32_t staged_max, ftd_error *error);
/* The staged log, which was checked: 0 or errno. */
int standby_disk_apply(struct standby_disk *disk, uint32_t length);
/* What was applied so far is to be on stable storage; does not wait. */
void standby_disk_want_sync(struct standby_disk *disk);
/* Waits until all that was asked for is synced: 0 or errno. Any number of times. */
int standby_disk_stop(struct standby_disk *disk);
void standby_disk_free(struct standby_disk *disk);

static inline int standby_disk_error(struct standby_disk *disk)
{
	return atomic_load(&disk->error);
}

#endif
