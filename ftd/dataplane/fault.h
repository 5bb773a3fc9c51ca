/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Named points at which a test can kill the process. Unarmed, a point is one
 * relaxed load of a word that nobody writes.
 */
#ifndef FTD_FAULT_H
#define FTD_FAULT_H

#include "base.h"

#define FAULT_POINTS(X) \
	X(ENTER_BEFORE_SYNC, "enter.before-sync") \
	X(ENTER_IN_SYNC, "enter.in-sync") \
	X(ENTER_IN_DISK, "enter.in-disk") \
	X(ENTER_FIRST_SEALED, "enter.first-sealed") \
	X(SEAL_BEFORE_HARVEST, "seal.before-harvest") \
	X(SEAL_BEFORE_COPY, "seal.before-copy") \
	X(SEAL_BEFORE_REARM, "seal.before-rearm") \
	X(SEAL_BEFORE_QUEUE, "seal.before-queue") \
	X(SEND_BEFORE, "send.before") \
	X(SEND_HALF, "send.half") \
	X(SEND_AFTER, "send.after") \
	X(ACK_RECEIVED, "ack.received") \
	X(ACK_RELEASED, "ack.released") \
	X(STAGE_HEADER, "stage.header") \
	X(STAGE_COMPLETE, "stage.complete") \
	X(ACK_BEFORE_SEND, "ack.before-send") \
	X(ACK_AFTER_SEND, "ack.after-send") \
	X(COMMIT_HALF, "commit.half") \
	X(COMMIT_DISK, "commit.disk") \
	X(COMMIT_AFTER, "commit.after") \
	X(DISK_WRITTEN, "disk.written") \
	X(DISK_NOTED, "disk.noted") \
	X(LEAVE_BEFORE_SEND, "leave.before-send") \
	X(LEAVE_AFTER_SEND, "leave.after-send") \
	X(LEAVE_RECEIVED, "leave.received") \
	X(SWITCHOVER_DRAINED, "switchover.drained") \
	X(SWITCHOVER_BEFORE_SEND, "switchover.before-send") \
	X(SWITCHOVER_AFTER_SEND, "switchover.after-send") \
	X(SWITCHOVER_RECEIVED, "switchover.received") \
	X(SWITCHOVER_BEFORE_DONE, "switchover.before-done")

enum fault_point {
#define X(name, text) FAULT_##name,
	FAULT_POINTS(X)
#undef X
	FAULT_NONE,
};

extern _Atomic uint32_t fault_armed;	/* the armed point, or FAULT_NONE */
extern _Atomic uint32_t fault_corrupt;	/* not 0: a byte of the next arena is to be sent flipped */
void fault_passed(void);

static inline void fault_point(enum fault_point point)
{
	if (__builtin_expect(atomic_load_explicit(&fault_armed, memory_order_relaxed) == point, 0))
		fault_passed();
}

#endif
