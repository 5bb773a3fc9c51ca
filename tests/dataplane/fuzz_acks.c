/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fuzz_acks SEED CONNECTIONS: mutated acknowledgements for a real primary,
 * delivered in pieces of any size. A refused frame must open nothing: the
 * output that may leave is that of the last epoch that was acknowledged well.
 */
#include <inttypes.h>
#include <sys/socket.h>

#include "check.h"
#include "primary.h"
#include "stub_machine.h"

#define FRAMES_MAX 80u
#define GENERATION 7u

static const uint8_t vm_id[16] = "a virtual ftd vm";

struct stream {
	uint8_t bytes[(FRAMES_MAX + 2) * sizeof(struct frame_header)];
	size_t length;
};

/* What the primary must have taken of a stream. */
struct expected {
	uint64_t acked;
	enum refusal refusal;
	uint32_t farewell;	/* LEAVE_ACK or HANDOVER_DONE */
	bool cut;		/* nothing was wrong, and the stream ended */
};

static void put(struct stream *stream, const void *bytes, size_t length)
{
	memcpy(stream->bytes + stream->length, bytes, length);
	stream->length += length;
}

static struct frame_header make_frame(enum frame_type type, uint64_t epoch)
{
	struct frame_header header = { .magic = FRAME_MAGIC, .version = FRAME_VERSION, .type = (uint16_t)type,
				       .generation = GENERATION, .epoch = epoch, .stamp_ns = epoch * 3 };

	memcpy(header.vm_id, vm_id, sizeof(vm_id));
	frame_seal(&header);
	return header;
}

static void change_header(struct random *random, struct frame_header *header)
{
	switch (random_below(random, 12)) {
	case 0:
		header->version = (uint16_t)random_below(random, 4);
		break;
	case 1:
		header->type = (uint16_t)random_below(random, 15);
		break;
	case 2:
		header->vm_id[random_below(random, 16)] ^= 1;
		break;
	case 3:
		header->generation += 1 - 2ull * random_below(random, 2);
		break;
	case 4:
		header->epoch = random_one_in(random, 2) ? random_u64(random) : header->epoch - random_below(random, 3);
		break;
	case 5:
		header->flags = 1u << random_below(random, 32);
		break;
	case 6:
		header->state_len = (uint32_t)random_u64(random);
		break;
	case 7:
		header->page_count = (uint32_t)random_u64(random);
		break;
	case 8:
		header->extra_len = 1 + random_below(random, 9999);
		break;
	case 9:
		header->body_crc = (uint32_t)random_u64(random);
		break;
	case 10:
		header->pair = 1u << random_below(random, 32);
		break;
	default:
		((uint8_t *)header)[random_below(random, sizeof(*header))] ^= (uint8_t)(1u << random_below(random, 8));
	}
}

static void put_mutated(struct stream *stream, struct random *random, struct frame_header frame)
{
	switch (random_below(random, 6)) {
	case 0:
		put(stream, &frame, random_below(random, sizeof(frame)));	/* cut */
		break;
	case 1:
		put(stream, &frame, 1 + random_below(random, 40));	/* inserted */
		put(stream, &frame, sizeof(frame));
		break;
	case 2:
		put(stream, &frame, sizeof(frame));	/* twice */
		put(stream, &frame, sizeof(frame));
		break;
	default:
		change_header(random, &frame);
		if (!random_one_in(random, 3))
			frame_seal(&frame);
		put(stream, &frame, sizeof(frame));
	}
}

static void write_stream(struct stream *stream, struct random *random, uint64_t sealed)
{
	uint32_t frames = 1 + random_below(random, FRAMES_MAX - 1), mutated = random_below(random, frames);
	uint64_t epoch = 0;

	stream->length = 0;
	for (uint32_t i = 0; i < frames; i++) {
		struct frame_header frame;

		epoch += 1 + random_one_in(random, 8);
		frame = random_one_in(random, 60) ? make_frame(random_one_in(random, 2) ? FRAME_LEAVE_ACK :
										  FRAME_HANDOVER_DONE, 0) :
						    make_frame(FRAME_ACK, min_u64(epoch, sealed + random_one_in(random, 9)));
		if (i == mutated)
			put_mutated(stream, random, frame);
		else
			put(stream, &frame, sizeof(frame));
	}
}

static enum refusal judge(const struct frame_header *header, uint64_t acked, uint64_t sealed)
{
	struct frame_header copy = *header;

	if (header->magic != FRAME_MAGIC)
		return REFUSED_MAGIC;
	frame_seal(&copy);
	if (copy.header_crc != header->header_crc)
		return REFUSED_HEADER_CRC;
	if (header->version != 5)
		return REFUSED_VERSION;
	if (header->type != FRAME_ACK && header->type != FRAME_LEAVE_ACK && header->type != FRAME_HANDOVER_DONE)
		return REFUSED_TYPE;
	if (memcmp(header->vm_id, vm_id, sizeof(vm_id)) != 0)
		return REFUSED_VM;
	if (header->generation != GENERATION)
		return REFUSED_GENERATION;
	if (header->flags)
		return REFUSED_FLAGS;
	if (header->pair)
		return REFUSED_PAIR;
	if (header->state_len || header->page_count || header->pages_len || header->extra_len)
		return REFUSED_LENGTH;
	if (header->body_crc)
		return REFUSED_BODY_CRC;
	if (header->type == FRAME_ACK ? header->epoch <= acked || header->epoch > sealed : header->epoch != 0)
		return REFUSED_EPOCH;
	return REFUSED_NOT;
}

static struct expected expect(const struct stream *stream, uint64_t sealed)
{
	struct expected expected = { 0 };
	struct frame_header header;

	for (size_t at = 0; at + sizeof(header) <= stream->length; at += sizeof(header)) {
		memcpy(&header, stream->bytes + at, sizeof(header));
		expected.refusal = judge(&header, expected.acked, sealed);
		if (expected.refusal)
			return expected;
		if (header.type == FRAME_ACK) {
			expected.acked = header.epoch;
		} else {
			expected.farewell = header.type;
			return expected;
		}
	}
	expected.cut = true;
	return expected;
}

/* A primary in mid-life: `sealed` epochs, each of which produced ten bytes of output. */
static void make_primary(struct ftd_primary *primary, struct ftd_vm *vm, uint64_t sealed)
{
	struct output_channel *channel = &vm->output.channels[OUTPUT_CONSOLE];

	memset(primary, 0, sizeof(*primary));
	primary->vm = vm;
	memcpy(primary->rules.vm_id, vm_id, sizeof(vm_id));
	primary->rules.generation = GENERATION;
	primary->rules.allowed = FRAME_BIT(FRAME_ACK) | FRAME_BIT(FRAME_LEAVE_ACK) | FRAME_BIT(FRAME_HANDOVER_DONE);
	pthread_mutex_init(&primary->fate, NULL);
	atomic_store(&primary->sealed, sealed);
	atomic_store(&primary->first_sealed, true);
	atomic_store(&vm->output.shut, false);
	atomic_store(&channel->head, 0);
	atomic_store(&channel->tail, 0);
	output_watch(&vm->output, UINT64_MAX);	/* no doubt: this is about the gate */
	output_gate(&vm->output);
	for (uint64_t epoch = 1; epoch <= sealed; epoch++) {
		primary->sealed_ns[epoch % EPOCH_MARKS] = now_ns();
		output_append(channel, "0123456789", 10);
		output_mark(&vm->output, epoch);
	}
}

static void deliver(struct ftd_primary *primary, const struct stream *stream, int fd, struct random *random)
{
	size_t sent = 0;

	while (sent < stream->length && !atomic_load(&primary->lost) && !atomic_load(&primary->ending)) {
		size_t piece = min_u64(1 + random_below(random, 300), stream->length - sent);

		CHECK(send(fd, stream->bytes + sent, piece, MSG_NOSIGNAL) == (ssize_t)piece, "send");
		sent += piece;
		primary_read_acks(primary);
	}
	shutdown(fd, SHUT_WR);
	/* What is still there, and then the end. */
	for (int i = 0; i < 100 && !atomic_load(&primary->lost) && !atomic_load(&primary->ending); i++)
		primary_read_acks(primary);
}

static void check_news(struct ftd_vm *vm, const struct expected *expected, uint64_t sealed)
{
	ftd_event event;

	if (expected->acked) {
		CHECK(events_take(&vm->events, &event) && event.kind == FTD_EVENT_PROTECTED, "first acknowledgement");
	}
	CHECK(events_take(&vm->events, &event), "no news of the end");
	if (expected->refusal) {
		CHECK(event.kind == FTD_EVENT_PEER_LOST && event.reason == FTD_LOST_REFUSED &&
			      event.detail == (int64_t)expected->refusal && event.epoch == sealed,
		      "event %u, reason %u, refusal %" PRId64 " instead of %d", event.kind, event.reason, event.detail,
		      expected->refusal);
	} else if (expected->cut) {
		CHECK(event.kind == FTD_EVENT_PEER_LOST && event.reason == FTD_LOST_CLOSED, "event %u", event.kind);
	} else {
		CHECK(event.kind == (expected->farewell == FRAME_LEAVE_ACK ? FTD_EVENT_LEAVE_ACKED : FTD_EVENT_HANDED_OVER),
		      "event %u", event.kind);
	}
	CHECK(!events_take(&vm->events, &event), "event %u after the end", event.kind);
}

static void check_outcome(struct ftd_primary *primary, const struct expected *expected, uint64_t sealed)
{
	struct ftd_vm *vm = primary->vm;
	struct output_channel *channel = &vm->output.channels[OUTPUT_CONSOLE];
	const char *data;

	CHECK(ftd_primary_acked(primary) == expected->acked, "acknowledged %" PRIu64 " instead of %" PRIu64,
	      ftd_primary_acked(primary), expected->acked);
	CHECK(atomic_load(&channel->limit) == 10 * expected->acked, "the gate is open up to %" PRIu64,
	      atomic_load(&channel->limit));
	CHECK(atomic_load(&primary->lost) == !expected->farewell, "lost");
	if (!expected->farewell)
		CHECK(output_ready(&vm->output, channel, &data) == 0, "output leaves after the peer was lost");
	for (uint32_t i = 0; i < ARRAY_SIZE(vm->counters->refused); i++)
		CHECK(vm->counters->refused[i] == (expected->refusal && i == expected->refusal), "refusal %u", i);
	check_news(vm, expected, sealed);
}

static void run_connection(struct ftd_vm *vm, struct ftd_primary *primary, uint64_t *tally, struct random *random)
{
	uint64_t sealed = 1 + random_below(random, EPOCH_MARKS - 1);
	struct expected expected;
	struct stream stream;
	int fds[2];

	write_stream(&stream, random, sealed);
	expected = expect(&stream, sealed);
	tally[expected.refusal]++;
	make_primary(primary, vm, sealed);
	memset(vm->counters->refused, 0, sizeof(vm->counters->refused));
	stub_sockets(fds);
	primary->link.data_fd = fds[0];
	deliver(primary, &stream, fds[1], random);
	check_outcome(primary, &expected, sealed);
	pthread_mutex_destroy(&primary->fate);
	close(fds[0]);
	close(fds[1]);
}

int main(int argc, char **argv)
{
	uint64_t seed = argument_or(argc, argv, 1, 1), connections = argument_or(argc, argv, 2, 1000);
	uint64_t first = argument_or(argc, argv, 3, 0), tally[32] = { 0 };
	struct ftd_vm *vm = stub_machine_make(FTD_PAGE_SIZE);
	struct ftd_primary *primary = malloc(sizeof(*primary));

	CHECK(primary, "no memory");
	for (case_number = first; case_number < first + connections; case_number++) {
		struct random random = { seed << 32 ^ case_number };

		run_connection(vm, primary, tally, &random);
	}
	for (uint32_t i = 0; i <= REFUSED_PAIR; i++)
		printf("%u:%" PRIu64 " ", i, tally[i]);
	putchar('\n');
	free(primary);
	stub_machine_free(vm);
	return 0;
}
