/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The output gate. What the guest sends is appended to a channel's ring by a
 * vCPU thread. At seal the position is noted for that epoch; when the standby
 * has acknowledged the epoch, everything up to the position may leave. One
 * reader, the io thread, lets it go.
 *
 * Positions only grow. head is written under vm->devices, limit by the io
 * thread and, while all vCPUs stand, by the leader; tail by the io thread.
 */
#ifndef FTD_OUTPUT_H
#define FTD_OUTPUT_H

#include <sys/uio.h>

#include "base.h"

#define OUTPUT_RING_BYTES (1u << 18)
#define EPOCH_MARKS 64	/* more than epochs can be in flight */

enum output_channel_id { OUTPUT_CONSOLE, OUTPUT_SERIAL, OUTPUT_NET, OUTPUT_CHANNELS };

struct output_channel {
	char *ring;
	_Atomic uint64_t head, tail, limit;
	uint64_t marks[EPOCH_MARKS];	/* head at the seal of epoch e, at e % EPOCH_MARKS */
};

struct output {
	struct output_channel channels[OUTPUT_CHANNELS];
	_Atomic bool direct;	/* unprotected: all of head may leave */
	_Atomic bool shut;	/* peer lost, or fenced: nothing leaves */
	/*
	 * After a gap in our own running the peer may have given up on us. Output
	 * then waits for an echo of a heartbeat that was sent after the gap, from
	 * a peer that is still a standby. 0: no doubt.
	 */
	_Atomic uint64_t doubt_since_ns;
	_Atomic uint64_t last_beat_ns;	/* when the heartbeat thread last ran; 0: no pair */
	_Atomic uint64_t gap_max_ns;
};

int output_open(struct output *output);	/* 0 or -1 with errno */
void output_close(struct output *output);

/* Appends as much as fits and returns how much that was. vm->devices is held. */
size_t output_append(struct output_channel *channel, const void *data, size_t length);
/*
 * In two steps, for what must be seen whole or not at all: puts bytes behind
 * the head, for which there must be room, then moves the head past them.
 */
void output_put(struct output_channel *channel, size_t offset, const void *data, size_t length);
void output_publish(struct output_channel *channel, size_t length);
static inline size_t output_room(struct output_channel *channel)
{
	return OUTPUT_RING_BYTES - (size_t)(atomic_load_explicit(&channel->head, memory_order_relaxed) -
					    atomic_load_explicit(&channel->tail, memory_order_acquire));
}

void output_mark(struct output *output, uint64_t epoch);		/* at seal */
void output_acknowledged(struct output *output, uint64_t epoch);	/* io thread */
void output_gate(struct output *output);	/* at the seal of the first epoch: direct ends here */
void output_ungate(struct output *output);	/* all that is held may leave */

/* Contiguous bytes that may leave now; 0 while the gate is shut or in doubt. io thread. */
size_t output_ready(struct output *output, struct output_channel *channel, const char **data);
/* All bytes that may leave now; and where `length` of them lie, `offset` from the oldest on: 1 or 2 pieces. io thread. */
size_t output_ready_total(struct output *output, struct output_channel *channel);
int output_pieces(struct output_channel *channel, size_t offset, size_t length, struct iovec pieces[2]);
void output_consumed(struct output_channel *channel, size_t length);
/* Nothing that may leave is left. io thread. */
bool output_drained(struct output *output);

/* Called by the heartbeat thread each time it runs; true: a gap was seen. */
bool output_beat(struct output *output, uint64_t now);
void output_proof(struct output *output, uint64_t stamp_ns);

#endif
