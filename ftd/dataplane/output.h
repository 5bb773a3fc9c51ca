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
	 * The watchdog. Gated output leaves only while the newest heartbeat that
	 * the standby has echoed was sent less than proof_max_ns ago: the standby
	 * does not become active sooner than its timeout after the last echo, and
	 * that is longer. Else we are in doubt, and output waits for a fresh echo.
	 */
	_Atomic uint64_t proof_ns;	/* when that heartbeat was sent; 0: there was none */
	_Atomic uint64_t proof_max_ns;
	bool held;	/* io thread: something would have left but for doubt */
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

void output_watch(struct output *output, uint64_t proof_max_ns);	/* a pair begins: nothing is proved */
/* A peer that is still a standby echoed the heartbeat of stamp_ns. Heartbeat thread. */
void output_proof(struct output *output, uint64_t stamp_ns, uint64_t now);
bool output_proof_is_old(const struct output *output);
bool output_in_doubt(const struct output *output);	/* output is gated, and the proof is old */

#endif
