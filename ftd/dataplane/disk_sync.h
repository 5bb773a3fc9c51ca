/* SPDX-License-Identifier: Apache-2.0 */
/* First synchronisation of the disk, on the sender's thread: holes, then blocks, until none is left (docs/DISK.md). */
#ifndef FTD_DISK_SYNC_H
#define FTD_DISK_SYNC_H

#include "disk_log.h"
#include "tracker.h"

struct ftd_primary;

struct disk_sync {
	struct sync_bitmap blocks;
	size_t bitmap_bytes;
	struct disk_log log;		/* for disk_begin_log, until then */
	struct disk_log batch;		/* extra of the DISK frame that is being built */
	bool scanned;			/* holes are sent, blocks with data are marked */
	_Atomic bool busy;		/* no memory is being sent now */
	_Atomic bool done;		/* no block is left, and none will be: epoch 1 may be sealed. True without a disk */
};

int disk_sync_open(struct ftd_primary *primary);	/* 0 or -1 with errno */
void disk_sync_close(struct ftd_primary *primary);
/* With all vCPUs out of the guest and vm->devices held. */
void disk_sync_begin(struct ftd_primary *primary);
/* Sends what is known to differ. False: the synchronisation is over, for whatever reason. */
bool disk_sync_round(struct ftd_primary *primary);
/* From here on writes are logged; sends the rest. False as above. */
bool disk_sync_finish(struct ftd_primary *primary);

#endif
