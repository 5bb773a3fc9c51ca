/* SPDX-License-Identifier: Apache-2.0 */
#include "output.h"

int output_open(struct output *output)
{
	atomic_store(&output->direct, true);
	for (int i = 0; i < OUTPUT_CHANNELS; i++) {
		output->channels[i].ring = reserve_pages(OUTPUT_RING_BYTES);
		if (!output->channels[i].ring)
			return -1;
	}
	return 0;
}

void output_close(struct output *output)
{
	for (int i = 0; i < OUTPUT_CHANNELS; i++)
		release_pages(output->channels[i].ring, OUTPUT_RING_BYTES);
}

void output_put(struct output_channel *channel, size_t offset, const void *data, size_t length)
{
	uint64_t head = atomic_load_explicit(&channel->head, memory_order_relaxed);
	size_t at = (head + offset) % OUTPUT_RING_BYTES, first = min_u64(length, OUTPUT_RING_BYTES - at);

	memcpy(channel->ring + at, data, first);
	memcpy(channel->ring, (const char *)data + first, length - first);
}

void output_publish(struct output_channel *channel, size_t length)
{
	uint64_t head = atomic_load_explicit(&channel->head, memory_order_relaxed);

	/* Release: whoever sees the new head sees the bytes. */
	atomic_store_explicit(&channel->head, head + length, memory_order_release);
}

size_t output_append(struct output_channel *channel, const void *data, size_t length)
{
	length = min_u64(length, output_room(channel));
	output_put(channel, 0, data, length);
	output_publish(channel, length);
	return length;
}

void output_mark(struct output *output, uint64_t epoch)
{
	for (int i = 0; i < OUTPUT_CHANNELS; i++) {
		struct output_channel *channel = &output->channels[i];

		channel->marks[epoch % EPOCH_MARKS] = atomic_load_explicit(&channel->head, memory_order_relaxed);
	}
}

void output_acknowledged(struct output *output, uint64_t epoch)
{
	/*
	 * The mark was written before its epoch was queued to the sender, and
	 * the acknowledgement came after that epoch was sent: the caller has
	 * read `sealed` with acquire, which orders this load after the store.
	 */
	for (int i = 0; i < OUTPUT_CHANNELS; i++) {
		struct output_channel *channel = &output->channels[i];

		atomic_store_explicit(&channel->limit, channel->marks[epoch % EPOCH_MARKS], memory_order_relaxed);
	}
}

void output_gate(struct output *output)
{
	for (int i = 0; i < OUTPUT_CHANNELS; i++) {
		struct output_channel *channel = &output->channels[i];

		atomic_store(&channel->limit, atomic_load(&channel->head));
	}
	atomic_store(&output->direct, false);
}

void output_ungate(struct output *output)
{
	atomic_store(&output->shut, false);
	atomic_store(&output->direct, true);
}

void output_watch(struct output *output, uint64_t proof_max_ns)
{
	atomic_store(&output->proof_ns, 0);
	atomic_store(&output->proof_max_ns, proof_max_ns);
}

void output_proof(struct output *output, uint64_t stamp_ns, uint64_t now)
{
	/* The stamp comes from outside: one that we cannot have sent yet would prove too much. */
	if (stamp_ns <= now && stamp_ns > atomic_load_explicit(&output->proof_ns, memory_order_relaxed))
		atomic_store_explicit(&output->proof_ns, stamp_ns, memory_order_relaxed);
}

bool output_proof_is_old(const struct output *output)
{
	/*
	 * Relaxed: the time alone is the message, and a reader that sees an
	 * older one errs towards caution. The clock is read by whoever is about
	 * to let output go, right before: after a stop of the whole process
	 * nobody knows which thread runs first.
	 */
	uint64_t proof = atomic_load_explicit(&output->proof_ns, memory_order_relaxed), now = now_ns();

	return now > proof && now - proof > atomic_load_explicit(&output->proof_max_ns, memory_order_relaxed);
}

bool output_in_doubt(const struct output *output)
{
	/* Ungated, nobody else can have this guest. */
	return !atomic_load(&output->direct) && output_proof_is_old(output);
}

static uint64_t may_leave_until(struct output *output, struct output_channel *channel)
{
	return atomic_load(&output->direct) ? atomic_load_explicit(&channel->head, memory_order_acquire) :
					      atomic_load_explicit(&channel->limit, memory_order_acquire);
}

size_t output_ready_total(struct output *output, struct output_channel *channel)
{
	uint64_t tail = atomic_load_explicit(&channel->tail, memory_order_relaxed);
	uint64_t until = may_leave_until(output, channel);

	if (until <= tail || atomic_load(&output->shut))
		return 0;
	if (output_in_doubt(output)) {
		output->held = true;
		return 0;
	}
	return until - tail;
}

int output_pieces(struct output_channel *channel, size_t offset, size_t length, struct iovec pieces[2])
{
	uint64_t tail = atomic_load_explicit(&channel->tail, memory_order_relaxed);
	size_t at = (tail + offset) % OUTPUT_RING_BYTES, first = min_u64(length, OUTPUT_RING_BYTES - at);

	pieces[0] = (struct iovec){ .iov_base = channel->ring + at, .iov_len = first };
	pieces[1] = (struct iovec){ .iov_base = channel->ring, .iov_len = length - first };
	return length > first ? 2 : 1;
}

size_t output_ready(struct output *output, struct output_channel *channel, const char **data)
{
	struct iovec pieces[2];
	size_t total = output_ready_total(output, channel);

	output_pieces(channel, 0, total, pieces);
	*data = pieces[0].iov_base;
	return pieces[0].iov_len;
}

void output_consumed(struct output_channel *channel, size_t length)
{
	/* Release: the vCPU may overwrite these bytes only after they were read. */
	atomic_fetch_add_explicit(&channel->tail, length, memory_order_release);
}

bool output_drained(struct output *output)
{
	for (int i = 0; i < OUTPUT_CHANNELS; i++) {
		struct output_channel *channel = &output->channels[i];

		if (may_leave_until(output, channel) > atomic_load_explicit(&channel->tail, memory_order_relaxed))
			return false;
	}
	return true;
}
