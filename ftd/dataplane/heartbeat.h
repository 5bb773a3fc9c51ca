/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Heartbeats, on a thread of their own on either side, so that neither a busy
 * interpreter nor a full data connection looks like a dead host.
 *
 * Each side sends a heartbeat every interval and answers each one it receives
 * with an echo of its stamp. A side that heard nothing, on either connection
 * of the pair, for the timeout reports the peer silent. It has stopped
 * answering before it reports: an echo therefore proves that at the time of
 * the stamp, or later, the peer had not given up. The active side lets output
 * go only while its newest proof is young (output.h); the standby, whatever
 * made it give up, outwaits that before it becomes active (heartbeat_outwait).
 */
#ifndef FTD_HEARTBEAT_H
#define FTD_HEARTBEAT_H

#include <pthread.h>

#include "base.h"
#include "frame.h"
#include "output.h"

struct heartbeat {
	int fd, wake_fd;
	bool standby;
	struct frame_rules rules;	/* of the pair; what else it allows does not matter here */
	uint64_t interval_ns, timeout_ns;
	struct output *output;		/* active side: told of proofs; else NULL */
	ftd_counters *counters;
	void (*lost)(void *context, uint32_t reason, int64_t detail);
	void (*tick)(void *context);	/* each time round; may be NULL */
	void *context;
	_Atomic uint64_t heard_ns;	/* last sign of life; the data connection's reader writes it too */
	uint64_t echoed_ns;		/* when the peer was last answered; the thread's, until it has ended */
	bool path_broken;		/* likewise: an error that does not say that the peer's end is gone */
	bool in_doubt;			/* likewise */
	_Atomic bool stop;
	_Atomic pid_t tid;
	pthread_t thread;
	bool started;
};

/* The caller has filled the fields above `heard_ns`; 0 or -1 with *error. */
int heartbeat_start(struct heartbeat *heartbeat, ftd_error *error);
void heartbeat_stop(struct heartbeat *heartbeat);
/*
 * Standby, after heartbeat_stop: returns when the peer can let no output go any
 * more. It closed its own end, which it does after it has shut its gate; or it
 * has had no echo for the timeout, which bounds this. Closes nothing itself.
 */
void heartbeat_outwait(struct heartbeat *heartbeat);

static inline void heartbeat_heard(struct heartbeat *heartbeat)
{
	atomic_store_explicit(&heartbeat->heard_ns, now_ns(), memory_order_relaxed);
}

#endif
