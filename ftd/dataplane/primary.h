/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The active side of a pair. Three parties share this structure:
 *
 *   leader   the vCPU thread that leads a stop: fills arenas, seals
 *   sender   the pair's thread: first synchronisation, then sealed arenas
 *   io       the VM's io thread: acknowledgements
 *
 * Arenas go round: the leader fills number `queued`, the sender sends number
 * `sent` and so gives it back. A connection that is lost is never resumed, so
 * an arena that was sent is not needed again; only the count of epochs that
 * are not acknowledged yet is bounded as well (epochs_in_flight).
 */
#ifndef FTD_PRIMARY_H
#define FTD_PRIMARY_H

#include <pthread.h>

#include "base.h"
#include "disk_log.h"
#include "disk_sync.h"
#include "frame.h"
#include "heartbeat.h"
#include "hotset.h"
#include "pace.h"
#include "placement.h"
#include "tracker.h"
#include "vm.h"

#define ARENAS_MAX 16
#define SYNC_BATCH_PAGES 64u	/* 256 KiB: still in the cache when it is sent and when its checksum is verified */
#define SYNC_PERIOD_NS (5 * FTD_MS)

struct arena {
	char *state;
	uint64_t *list;		/* entries as on the wire */
	char *pages;		/* contents, entry by entry */
	uint32_t state_len, count, pages_len;
	struct disk_log disk;	/* of an EPOCH; empty in a PART */
	uint64_t epoch;
	enum frame_type type;	/* FRAME_EPOCH or FRAME_PART */
	struct frame_header header;
};

enum checkpoint_step { STEP_SEALED, STEP_HARVESTED, STEP_COPIED };

struct ftd_primary {
	struct ftd_vm *vm;
	struct frame_rules rules;
	ftd_link_config link;
	ftd_cycle_config cycle;
	struct tracker_limits limits;

	struct arena arenas[ARENAS_MAX];
	_Atomic uint64_t queued, sent;	/* arenas, counted for ever */
	_Atomic uint64_t sealed, acked;	/* epochs */
	uint64_t sealed_ns[EPOCH_MARKS];

	_Atomic uint32_t work;		/* futex: something for the sender */
	_Atomic uint32_t sender_idle;
	_Atomic uint32_t room;		/* futex: an arena came back, or an epoch was acknowledged */
	_Atomic uint32_t room_wanted;
	_Atomic uint32_t controls;	/* FRAME_BIT(LEAVE), FRAME_BIT(HANDOVER): to be sent after the queue */

	/* leader only */
	struct page_list harvested;	/* what the tracker and the device model reported */
	struct page_list ship, rearm;	/* what the hot set makes of it */
	uint64_t *ship_lines;		/* of each page to ship, those that are enough; 0: all */
	uint32_t *offsets;		/* of the part that is being copied: where each page's contents go */
	uint32_t shipped;		/* entries of `ship` in earlier parts of this epoch */
	uint64_t sync_limit;
	uint64_t due_ns;		/* of the last checkpoint, on schedule */
	uint64_t postponed_ns;		/* since when epoch 1 waits for a fresh echo; 0: it does not */
	uint64_t stalled_ns;		/* of this stop */
	struct hotset hot;
	enum checkpoint_step step;	/* the last one made */

	/* first synchronisation */
	pthread_mutex_t sync_lock;	/* taking pages from the bitmap and copying them, against sealing */
	struct sync_bitmap sync;
	size_t sync_bytes;
	_Atomic uint64_t sync_sent;	/* pages sent since the last stop */
	char *batch;			/* a frame being built: header, list, pages */
	struct disk_sync disk;

	pthread_mutex_t fate;		/* orders "first epoch sealed" against "peer lost" */
	_Atomic bool first_sealed;
	_Atomic bool lost;
	_Atomic bool ending;

	_Atomic uint64_t drain_epoch;	/* 0: not draining */
	bool drained;			/* io thread: reported */
	uint32_t ack_fill;		/* io thread: bytes of a frame that is not whole yet */
	char ack_buffer[64 * sizeof(struct frame_header)];

	pthread_t sender_thread;
	bool sender_started;
	struct heartbeat heartbeat;
	struct placement placement;
	struct pace pace;
};

/* What the tracker is to keep to: follows from link and cycle. */
struct tracker_limits primary_limits(const struct ftd_primary *primary);
/* Arenas, lists and bitmaps, after the limits are set; 0, or -1 with *error. Released also when only some are there. */
int primary_allocate(struct ftd_primary *primary, ftd_error *error);
void primary_release(struct ftd_primary *primary);
/* Any thread, any number of times; the first reason counts. */
void primary_lost(struct ftd_primary *primary, uint32_t reason, int64_t detail);
void primary_refused(struct ftd_primary *primary, enum refusal refusal);
void primary_wake_sender(struct ftd_primary *primary);
void primary_room_made(struct ftd_primary *primary);
void *sender_main(void *argument);
struct iovec;
/* Sender thread. Sends all; false: the peer is lost. */
bool sender_send(struct ftd_primary *primary, struct iovec *iov, int parts);
/* Sender thread: the first synchronisation ends without an epoch 1, or with it. */
bool sender_sync_is_over(struct ftd_primary *primary);
/* io thread: takes acknowledgements; then primary_check_drained when output has gone out. */
void primary_read_acks(struct ftd_primary *primary);
void primary_check_drained(struct ftd_primary *primary);

#endif
