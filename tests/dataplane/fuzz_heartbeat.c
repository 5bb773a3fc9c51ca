/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fuzz_heartbeat SEED CONNECTIONS: mutated heartbeats for the parser of either
 * side, in pieces of any size, without its thread: heartbeat.c is part of this
 * file. Each good heartbeat is answered by an echo of its stamp; a refused
 * frame ends it, and nothing after it is answered or proves anything.
 */
#include "heartbeat.c"	/* NOLINT: for its static functions */

#include <inttypes.h>

#include "check.h"
#include "stub_machine.h"

#define FRAMES_MAX 40u
#define GENERATION 7u
#define STAMP_MAX_NS 2000u

static const uint8_t vm_id[16] = "a virtual ftd vm";

struct verdict {
	uint32_t calls, reason;
	int64_t detail;
};

struct expected {
	uint32_t received, echoes;
	uint64_t stamps[FRAMES_MAX + 2];	/* to be echoed, in order */
	enum refusal refusal;
	uint64_t proof_ns;
};

struct bytes {
	uint8_t bytes[(FRAMES_MAX + 2) * sizeof(struct frame_header)];
	size_t length;
};

static void on_lost(void *context, uint32_t reason, int64_t detail)
{
	struct verdict *verdict = context;

	verdict->calls++;
	verdict->reason = reason;
	verdict->detail = detail;
}

static void put_bytes(struct bytes *stream, const void *bytes, size_t length)
{
	memcpy(stream->bytes + stream->length, bytes, length);
	stream->length += length;
}

static struct frame_header make_beat(struct random *random)
{
	struct frame_header header = { .magic = FRAME_MAGIC, .version = FRAME_VERSION, .type = FRAME_HEARTBEAT,
				       .generation = GENERATION, .flags = random_below(random, 4),
				       .stamp_ns = random_one_in(random, 8) ? UINT64_MAX - random_below(random, 9) :
									   random_below(random, STAMP_MAX_NS) };

	memcpy(header.vm_id, vm_id, sizeof(vm_id));
	frame_seal(&header);
	return header;
}

static void put_mutated(struct bytes *stream, struct random *random, struct frame_header beat)
{
	switch (random_below(random, 8)) {
	case 0:
		put_bytes(stream, &beat, random_below(random, sizeof(beat)));
		return;
	case 1:
		put_bytes(stream, &beat, 1 + random_below(random, sizeof(beat) - 1));
		put_bytes(stream, &beat, sizeof(beat));
		return;
	case 2:
		beat.flags = random_below(random, 64);
		break;
	case 3:
		beat.type = (uint16_t)random_below(random, 15);
		break;
	case 4:
		beat.generation = GENERATION - 1;
		break;
	case 5:
		beat.epoch = random_below(random, 2);
		break;
	default:
		((uint8_t *)&beat)[random_below(random, sizeof(beat))] ^= (uint8_t)(1u << random_below(random, 8));
		break;
	}
	if (!random_one_in(random, 3))
		frame_seal(&beat);
	put_bytes(stream, &beat, sizeof(beat));
}

static void write_stream(struct bytes *stream, struct random *random)
{
	uint32_t beats = 1 + random_below(random, FRAMES_MAX), mutated = random_below(random, beats);

	stream->length = 0;
	for (uint32_t i = 0; i < beats; i++) {
		struct frame_header beat = make_beat(random);

		if (i == mutated)
			put_mutated(stream, random, beat);
		else
			put_bytes(stream, &beat, sizeof(beat));
	}
}

static enum refusal judge(const struct frame_header *header)
{
	struct frame_header copy = *header;

	frame_seal(&copy);
	if (header->magic != FRAME_MAGIC)
		return REFUSED_MAGIC;
	if (copy.header_crc != header->header_crc)
		return REFUSED_HEADER_CRC;
	if (header->version != 5)
		return REFUSED_VERSION;
	if (header->type != FRAME_HEARTBEAT)
		return REFUSED_TYPE;
	if (memcmp(header->vm_id, vm_id, sizeof(vm_id)) != 0)
		return REFUSED_VM;
	if (header->generation != GENERATION)
		return REFUSED_GENERATION;
	if (header->flags > 3)
		return REFUSED_FLAGS;
	if (header->pair)
		return REFUSED_PAIR;
	if (header->state_len || header->page_count || header->pages_len || header->extra_len)
		return REFUSED_LENGTH;
	if (header->body_crc)
		return REFUSED_BODY_CRC;
	return header->epoch ? REFUSED_EPOCH : REFUSED_NOT;
}

static struct expected expect(const struct bytes *stream)
{
	struct expected expected = { 0 };
	struct frame_header header;

	for (size_t at = 0; at + sizeof(header) <= stream->length; at += sizeof(header)) {
		memcpy(&header, stream->bytes + at, sizeof(header));
		expected.refusal = judge(&header);
		if (expected.refusal)
			break;
		expected.received++;
		if (!(header.flags & HEARTBEAT_ECHO))
			expected.stamps[expected.echoes++] = header.stamp_ns;
		else if ((header.flags & HEARTBEAT_STANDBY) && header.stamp_ns <= now_ns())
			expected.proof_ns = max_u64(expected.proof_ns, header.stamp_ns);
	}
	return expected;
}

static void check_echoes(const struct expected *expected, bool standby, int fd)
{
	for (uint32_t i = 0; i < expected->echoes; i++) {
		struct frame_header echo;

		CHECK(recv(fd, &echo, sizeof(echo), MSG_DONTWAIT) == sizeof(echo), "echo %u is missing", i);
		CHECK(judge(&echo) == REFUSED_NOT, "a malformed echo");
		CHECK(echo.flags == (standby ? HEARTBEAT_ECHO | HEARTBEAT_STANDBY : HEARTBEAT_ECHO), "flags %u", echo.flags);
		CHECK(echo.stamp_ns == expected->stamps[i], "echo of %" PRIu64 " instead of %" PRIu64, echo.stamp_ns,
		      expected->stamps[i]);
	}
	CHECK(recv(fd, (char[1]){ 0 }, 1, MSG_DONTWAIT) <= 0, "an echo too many");
}

static void run_connection(struct ftd_vm *vm, uint64_t *tally, struct random *random)
{
	struct frame_rules rules = { .generation = GENERATION, .allowed = FRAME_BIT(FRAME_HEARTBEAT) };
	struct verdict verdict = { 0 };
	struct heartbeat heartbeat = { .standby = random_one_in(random, 2), .counters = vm->counters, .lost = on_lost,
				       .context = &verdict };
	struct beat_stream stream = { 0 };
	struct expected expected;
	struct bytes bytes;
	size_t sent = 0;
	int fds[2];

	memcpy(rules.vm_id, vm_id, sizeof(vm_id));
	heartbeat.rules = rules;
	heartbeat.output = heartbeat.standby ? NULL : &vm->output;
	output_watch(&vm->output, FTD_MS);
	memset(vm->counters, 0, sizeof(*vm->counters));
	write_stream(&bytes, random);
	expected = expect(&bytes);
	tally[expected.refusal]++;
	stub_sockets(fds);
	heartbeat.fd = fds[0];
	while (sent < bytes.length && !verdict.calls) {
		size_t piece = min_u64(1 + random_below(random, 400), bytes.length - sent);

		CHECK(send(fds[1], bytes.bytes + sent, piece, 0) == (ssize_t)piece, "send");
		sent += piece;
		receive(&heartbeat, &stream);
	}
	while (!verdict.calls && recv(fds[0], (char[1]){ 0 }, 1, MSG_PEEK | MSG_DONTWAIT) == 1)
		receive(&heartbeat, &stream);
	CHECK(verdict.calls == !!expected.refusal, "reported %u times", verdict.calls);
	CHECK(!expected.refusal || (verdict.reason == FTD_LOST_REFUSED && verdict.detail == (int64_t)expected.refusal),
	      "refusal %" PRId64 " instead of %d", verdict.detail, expected.refusal);
	CHECK(vm->counters->refused[expected.refusal] == !!expected.refusal, "not counted");
	CHECK(vm->counters->heartbeats_received == expected.received, "%" PRIu64 " heartbeats instead of %u",
	      vm->counters->heartbeats_received, expected.received);
	check_echoes(&expected, heartbeat.standby, fds[1]);
	CHECK(atomic_load(&vm->output.proof_ns) == (heartbeat.standby ? 0 : expected.proof_ns), "proof");
	close(fds[0]);
	close(fds[1]);
}

int main(int argc, char **argv)
{
	uint64_t seed = argument_or(argc, argv, 1, 1), connections = argument_or(argc, argv, 2, 1000);
	uint64_t first = argument_or(argc, argv, 3, 0), tally[32] = { 0 };
	struct ftd_vm *vm = stub_machine_make(FTD_PAGE_SIZE);

	for (case_number = first; case_number < first + connections; case_number++) {
		struct random random = { seed << 32 ^ case_number };

		run_connection(vm, tally, &random);
	}
	for (uint32_t i = 0; i <= REFUSED_PAIR; i++)
		printf("%u:%" PRIu64 " ", i, tally[i]);
	putchar('\n');
	stub_machine_free(vm);
	return 0;
}
