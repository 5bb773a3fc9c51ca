/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fuzz_standby SEED CONNECTIONS: mutated streams for a real standby.
 *
 * Each connection gets a valid stream (first synchronisation, epochs in parts,
 * perhaps a farewell) with one mutated frame in it, and is compared with what
 * standby_model.c makes of the same bytes: verdict, counters, news,
 * acknowledgements, committed epoch, state blob and memory image. Ends with
 * the number of connections that were refused, for each reason.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <sys/mman.h>
#include <sys/socket.h>

#include "check.h"
#include "disk.h"
#include "frame.h"
#include "heartbeat.h"
#include "standby_model.h"
#include "stub_machine.h"

#define FRAMES_MAX 24u
#define STREAM_MAX (1u << 20)
#define NEWS_DEADLINE_MS 60000
#define UNREAD_MAX (1u << 15)	/* fits a socket */

static const uint8_t vm_id[16] = "a virtual ftd vm";

/* The heartbeat has a fuzzer of its own; without its thread four times as many connections pass. */
int __wrap_heartbeat_start(struct heartbeat *heartbeat, ftd_error *error);
void __wrap_heartbeat_stop(struct heartbeat *heartbeat);
int __wrap_heartbeat_start(struct heartbeat *heartbeat, ftd_error *error)
{
	(void)heartbeat;
	(void)error;
	return 0;
}
void __wrap_heartbeat_stop(struct heartbeat *heartbeat)
{
	(void)heartbeat;
}

/* ---- valid streams ---- */

struct script {
	uint8_t bytes[STREAM_MAX];
	size_t starts[FRAMES_MAX + 1];	/* frame i is starts[i] to starts[i + 1] */
	uint32_t frames;
};

static uint8_t *frame_of(struct script *script, uint32_t index)
{
	return script->bytes + script->starts[index];
}

static size_t length_of(const struct script *script, uint32_t index)
{
	return script->starts[index + 1] - script->starts[index];
}

static uint32_t choose_pages(struct random *random, bool deltas, uint64_t *list)
{
	uint32_t count = random_below(random, MODEL_EPOCH_PAGES_MAX + 1);

	for (uint32_t i = 0; i < count; i++) {	/* zero pages mostly: they are quick to send */
		list[i] = random_below(random, MODEL_PAGES) | (uint64_t)!random_one_in(random, 4) << 52;
		if (deltas && random_one_in(random, 3)) {
			uint64_t lines = 1 + random_below(random, random_one_in(random, 8) ? 63 : 5);

			list[i] = (list[i] & ((1ull << 52) - 1)) | 2ull << 52 | lines << 56;
		}
	}
	return count;
}

/* Contents that fit the list; returns their length. */
static uint32_t write_contents(struct random *random, const uint64_t *list, uint32_t count, uint8_t *contents)
{
	uint32_t at = 0;

	for (uint32_t i = 0; i < count; at += model_contents_len(list[i]), i++) {
		uint64_t mask = 0;

		memset(contents + at, (int)random_u64(random), model_contents_len(list[i]));
		if (list[i] >> 56) {
			while ((uint64_t)__builtin_popcountll(mask) < list[i] >> 56)
				mask |= 1ull << random_below(random, 64);
			model_set_field(contents + at, 0, mask, 8);
		}
	}
	return at;
}

/* Valid records, as many as fit. */
static uint32_t write_log(struct random *random, uint8_t *log)
{
	uint32_t length = 0;

	for (uint32_t records = random_below(random, 6); records; records--) {
		enum model_record kind = (enum model_record)(WRITE + random_below(random, FLUSH));
		uint32_t bytes = kind == FLUSH ? 0 : 1 + random_below(random, random_one_in(random, 4) ? 2000 : 40);
		uint32_t padded = kind == WRITE ? (bytes + 7) / 8 * 8 : 0;
		uint64_t offset = kind == FLUSH ? 0 : random_below(random, MODEL_DISK_BYTES - bytes + 1);

		if (length + 16 + padded > MODEL_EXTRA_MAX)
			break;
		model_set_field(log + length, 0, offset, 8);
		model_set_field(log + length, 8, bytes, 4);
		model_set_field(log + length, 12, kind, 4);
		memset(log + length + 16, (int)random_u64(random), padded);
		length += 16 + padded;
	}
	return length;
}

static void seal_frame(uint8_t *frame)
{
	model_set_field(frame, AT_BODY_CRC, ftd_crc32c(0, frame + HEADER_BYTES, model_body_len(frame)), 4);
	model_seal_header(frame);
}

static void add_frame(struct script *script, struct random *random, enum model_type type, uint64_t epoch)
{
	bool has_pages = type == SYNC || type == EPOCH || type == PART;
	uint8_t *frame = frame_of(script, script->frames), *body = frame + HEADER_BYTES;
	uint64_t list[MODEL_EPOCH_PAGES_MAX];
	uint32_t count = has_pages ? choose_pages(random, type != SYNC, list) : 0, pages_len;
	uint32_t state_len = type == EPOCH ? random_below(random, random_one_in(random, 50) ? 20000 : 60) : 0;
	uint32_t extra_len = 0;

	memset(frame, 0, HEADER_BYTES);
	for (uint32_t i = 0; i < state_len; i++)
		body[i] = (uint8_t)random_u64(random);
	memcpy(body + state_len, list, 8 * count);
	pages_len = write_contents(random, list, count, body + state_len + 8 * count);
	if ((type == EPOCH && random_one_in(random, 2)) || type == DISK)
		extra_len = write_log(random, body + state_len + 8 * count + pages_len);
	memcpy(frame, "FTD1", 4);
	model_set_field(frame, AT_VERSION, 5, 2);
	model_set_field(frame, AT_TYPE, type, 2);
	memcpy(frame + AT_VM, vm_id, sizeof(vm_id));
	model_set_field(frame, AT_GENERATION, MODEL_GENERATION, 8);
	model_set_field(frame, AT_EPOCH, epoch, 8);
	model_set_field(frame, AT_STATE_LEN, state_len, 4);
	model_set_field(frame, AT_PAGE_COUNT, count, 4);
	model_set_field(frame, AT_PAGES_LEN, pages_len, 4);
	model_set_field(frame, AT_EXTRA_LEN, extra_len, 4);
	model_set_field(frame, AT_STAMP, random_u64(random), 8);
	seal_frame(frame);
	script->starts[++script->frames] = (size_t)(body - script->bytes) + model_body_len(frame);
}

static void write_script(struct script *script, struct random *random)
{
	uint32_t syncs = random_below(random, 3), epochs = random_below(random, 5);

	script->frames = 0;
	script->starts[0] = 0;
	while (syncs--)
		add_frame(script, random, random_one_in(random, 3) ? DISK : SYNC, 0);
	for (uint64_t epoch = 1; epoch <= epochs; epoch++) {
		for (uint32_t part = 1; part < MODEL_PARTS_MAX && random_one_in(random, 4); part++)
			add_frame(script, random, PART, epoch);
		add_frame(script, random, EPOCH, epoch);
	}
	if (random_one_in(random, 2))
		add_frame(script, random, random_one_in(random, 2) ? LEAVE : HANDOVER, epochs);
	if (!script->frames)
		add_frame(script, random, EPOCH, 1);
}

/* ---- mutations ---- */

struct stream {
	uint8_t bytes[2 * STREAM_MAX];
	size_t length;
};

static void put(struct stream *stream, const void *bytes, size_t length)
{
	memcpy(stream->bytes + stream->length, bytes, length);
	stream->length += length;
}

static void put_frame(struct stream *stream, struct script *script, uint32_t index)
{
	put(stream, frame_of(script, index), length_of(script, index));
}

static void flip_bits(struct random *random, uint8_t *bytes, size_t length)
{
	for (uint32_t flips = 1 + random_below(random, 8); flips; flips--)
		bytes[random_below(random, (uint32_t)length)] ^= (uint8_t)(1u << random_below(random, 8));
}

static uint64_t odd_value(struct random *random, uint64_t was)
{
	const uint64_t values[] = { 0, 1, was + 1, was - 1, was ^ 1ull << random_below(random, 64), UINT64_MAX,
				    UINT32_MAX, 1u << 20, (1u << 20) + 1, 4096, 8192, random_u64(random),
				    random_below(random, 16), was << 1, INT32_MAX };

	return values[random_below(random, ARRAY_SIZE(values))];
}

static void change_field(struct random *random, uint8_t *frame)
{
	static const struct {
		enum model_field at;
		size_t bytes;
	} fields[] = {
		{ AT_MAGIC, 4 }, { AT_VERSION, 2 }, { AT_TYPE, 2 }, { AT_VM, 8 }, { AT_GENERATION, 8 }, { AT_EPOCH, 8 },
		{ AT_FLAGS, 4 }, { AT_STATE_LEN, 4 }, { AT_PAGE_COUNT, 4 }, { AT_PAGES_LEN, 4 }, { AT_EXTRA_LEN, 4 },
		{ AT_BODY_CRC, 4 }, { AT_STAMP, 8 }, { AT_PAIR, 4 },
	};
	uint32_t i = random_below(random, ARRAY_SIZE(fields));

	model_set_field(frame, fields[i].at, odd_value(random, model_field(frame, fields[i].at, fields[i].bytes)),
			fields[i].bytes);
}

static void change_list(struct random *random, uint8_t *frame)
{
	uint32_t count = (uint32_t)model_field(frame, AT_PAGE_COUNT, 4);
	uint8_t *list = frame + HEADER_BYTES + model_field(frame, AT_STATE_LEN, 4);
	const uint64_t entries[] = { MODEL_PAGES, 1ull << 52, 2ull << 52, 2ull << 52 | 1ull << 56, 2ull << 52 | 63ull << 56,
				     2ull << 52 | 64ull << 56, 1ull << 63, 1ull << 56 | 1, random_u64(random),
				     (1ull << 52) - 1, 0, MODEL_PAGES - 1, 3ull << 18, 1ull << 20, 1ull << 52 | MODEL_PAGES };

	if (count)
		model_set_field(list, (enum model_field)(8 * random_below(random, count)),
				entries[random_below(random, ARRAY_SIZE(entries))], 8);
}

/* The first contents are a mask, where the first entry is one of lines. */
static void change_mask(struct random *random, uint8_t *frame)
{
	uint32_t count = (uint32_t)model_field(frame, AT_PAGE_COUNT, 4);
	uint8_t *contents = frame + HEADER_BYTES + model_field(frame, AT_STATE_LEN, 4) + 8 * count;

	if (model_field(frame, AT_PAGES_LEN, 4) >= 8)
		flip_bits(random, contents, 8);
}

static void change_log(struct random *random, uint8_t *frame)
{
	uint32_t extra_len = (uint32_t)model_field(frame, AT_EXTRA_LEN, 4);
	uint8_t *log = frame + HEADER_BYTES + model_body_len(frame) - extra_len;
	const uint64_t values[] = { 0, 1, 4, 5, 255, MODEL_DISK_BYTES, MODEL_DISK_BYTES + 1, UINT32_MAX, UINT64_MAX,
				    random_below(random, MODEL_DISK_BYTES) };

	/* The first record's head mostly: there the fields are. */
	if (extra_len >= 16)
		model_set_field(log, (enum model_field)(4 * random_below(random, random_one_in(random, 4) ? extra_len / 4 : 4)),
				values[random_below(random, ARRAY_SIZE(values))], 4);
}

/* Makes checksums right again, or one of them, or none: so that every check behind them is reached. */
static void reseal(struct random *random, uint8_t *frame, size_t length)
{
	uint64_t body_len = model_body_len(frame);

	if (random_one_in(random, 2) && body_len <= length - HEADER_BYTES)
		seal_frame(frame);
	else if (random_one_in(random, 2))
		model_seal_header(frame);
}

/* Appends frame `index`, changed. */
static void put_mutated(struct stream *stream, struct script *script, uint32_t index, struct random *random)
{
	uint8_t *frame = stream->bytes + stream->length;
	size_t length = length_of(script, index);
	uint8_t garbage[HEADER_BYTES];

	switch (random_below(random, 14)) {
	case 0:	/* cut */
		put(stream, frame_of(script, index), random_below(random, (uint32_t)length));
		return;
	case 1:	/* inserted before it */
		for (size_t i = 0; i < sizeof(garbage); i++)
			garbage[i] = (uint8_t)random_u64(random);
		put(stream, garbage, 1 + random_below(random, sizeof(garbage)));
		put_frame(stream, script, index);
		return;
	case 2:	/* twice */
		put_frame(stream, script, index);
		put_frame(stream, script, index);
		return;
	case 3:	/* an earlier one again, or a later one too soon */
		put_frame(stream, script, random_below(random, script->frames));
		put_frame(stream, script, index);
		return;
	case 4:	/* left out */
		return;
	case 5: { /* the first half of it and the second half of another */
		uint32_t other = random_below(random, script->frames);

		put(stream, frame_of(script, index), length / 2);
		put(stream, frame_of(script, other) + length_of(script, other) / 2,
		    length_of(script, other) - length_of(script, other) / 2);
		return;
	}
	case 6:
		put_frame(stream, script, index);
		flip_bits(random, frame, HEADER_BYTES);
		break;
	case 7:
		put_frame(stream, script, index);
		flip_bits(random, frame, length);
		break;
	case 8:
		put_frame(stream, script, index);
		change_list(random, frame);
		break;
	case 9:
		put_frame(stream, script, index);
		change_log(random, frame);
		break;
	case 10:
		put_frame(stream, script, index);
		change_mask(random, frame);
		break;
	default:
		put_frame(stream, script, index);
		change_field(random, frame);
		if (random_one_in(random, 3))
			change_field(random, frame);
		break;
	}
	reseal(random, frame, length);
}

static void write_stream(struct stream *stream, struct script *script, struct random *random)
{
	uint32_t mutated = random_below(random, script->frames);

	stream->length = 0;
	for (uint32_t i = 0; i < script->frames; i++) {
		if (i == mutated)
			put_mutated(stream, script, i, random);
		else
			put_frame(stream, script, i);
	}
}

/* ---- one connection ---- */

static bool next_event(struct ftd_vm *vm, ftd_event *event, int timeout_ms)
{
	struct pollfd fd = { .fd = vm->events.fd, .events = POLLIN };

	for (;;) {
		if (events_take(&vm->events, event))
			return true;
		if (poll(&fd, 1, timeout_ms) == 0)
			return false;
	}
}

/* What the standby reports at its end; FIRST_COMPLETE before it is checked on the way. */
static ftd_event final_event(struct ftd_vm *vm, const struct standby_model *model, int timeout_ms)
{
	ftd_event event = { 0 };
	bool first = false;

	while (next_event(vm, &event, timeout_ms)) {
		if (event.kind != FTD_EVENT_FIRST_COMPLETE)
			break;
		CHECK(!first && event.epoch == 1, "epoch 1 is complete once");
		first = true;
		event.kind = 0;
	}
	CHECK(first == (model->epoch > 0), "epoch 1 complete: %d", first);
	return event;
}

/*
 * Not much more than the standby will read: the rest would fill the socket and
 * stay there. Waits while the socket is full.
 */
static void send_stream(const struct stream *stream, const struct standby_model *model, int fd)
{
	size_t length = min_u64(stream->length, model->judged + UNREAD_MAX), sent = 0;

	while (sent < length) {
		struct pollfd writable = { .fd = fd, .events = POLLOUT };
		ssize_t n = send(fd, stream->bytes + sent, length - sent, MSG_NOSIGNAL | MSG_DONTWAIT);

		CHECK(n > 0 || errno == EAGAIN, "sending: %s", strerror(errno));
		if (n > 0)
			sent += (size_t)n;
		else
			CHECK(poll(&writable, 1, NEWS_DEADLINE_MS) == 1, "the standby stopped reading");
	}
	shutdown(fd, SHUT_WR);
}

static void check_verdict(const struct standby_model *model, const ftd_event *event)
{
	switch (model->end) {
	case ENDS_WITH_LEAVE:
		CHECK(event->kind == FTD_EVENT_LEAVE, "event %u", event->kind);
		break;
	case ENDS_WITH_HANDOVER:
		CHECK(event->kind == FTD_EVENT_HANDOVER, "event %u", event->kind);
		break;
	case ENDS_REFUSED:
		CHECK(event->kind == FTD_EVENT_PEER_LOST && event->reason == FTD_LOST_REFUSED &&
			      event->detail == (int64_t)model->refusal,
		      "event %u, reason %u, refusal %" PRId64 " instead of %d", event->kind, event->reason, event->detail,
		      model->refusal);
		break;
	default:
		CHECK(event->kind == FTD_EVENT_PEER_LOST && event->reason == FTD_LOST_CLOSED, "event %u, reason %u, %" PRId64,
		      event->kind, event->reason, event->detail);
	}
	CHECK(event->epoch == model->epoch, "epoch %" PRIu64 " instead of %" PRIu64, event->epoch, model->epoch);
}

static void check_refusals(const struct standby_model *model, struct ftd_vm *vm)
{
	for (uint32_t i = 0; i < ARRAY_SIZE(vm->counters->refused); i++)
		CHECK(vm->counters->refused[i] == (model->end == ENDS_REFUSED && i == model->refusal), "refusal %u: %" PRIu64, i,
		      vm->counters->refused[i]);
}

/* One acknowledgement for each epoch, in order; `all`: none may be missing. */
static void check_acks(const struct standby_model *model, int fd, bool all)
{
	uint8_t ack[HEADER_BYTES];
	uint64_t epoch = 0;

	while (recv(fd, ack, sizeof(ack), MSG_DONTWAIT) == sizeof(ack)) {
		epoch++;
		CHECK(epoch <= model->epoch, "epoch %" PRIu64 " was acknowledged and is not complete", epoch);
		CHECK(model_field(ack, AT_TYPE, 2) == FRAME_ACK && model_field(ack, AT_EPOCH, 8) == epoch &&
			      model_field(ack, AT_STAMP, 8) == model->stamps[epoch],
		      "acknowledgement of epoch %" PRIu64, epoch);
	}
	CHECK(!all || epoch == model->epoch, "%" PRIu64 " of %" PRIu64 " epochs acknowledged", epoch, model->epoch);
}

static void check_committed(const struct standby_model *model, struct ftd_vm *vm, ftd_standby *standby)
{
	uint64_t state_len;
	const void *state = ftd_standby_state(standby, &state_len);
	uint8_t disk[MODEL_DISK_BYTES];

	CHECK(ftd_standby_epoch(standby) == model->epoch, "epoch %" PRIu64 " is committed, not %" PRIu64,
	      ftd_standby_epoch(standby), model->epoch);
	CHECK(state_len == model->state_len && (!state_len || memcmp(state, model->state, state_len) == 0),
	      "the state of epoch %" PRIu64, model->epoch);
	CHECK(model->image_undefined || memcmp(vm->memory, model->image, sizeof(model->image)) == 0,
	      "the memory of epoch %" PRIu64, model->epoch);
	CHECK(pread(vm->disk->fd, disk, sizeof(disk), 0) == sizeof(disk) && memcmp(disk, model->disk, sizeof(disk)) == 0,
	      "the disk of epoch %" PRIu64, model->epoch);
}

static void reset(struct ftd_vm *vm)
{
	ftd_event ignored;

	while (events_take(&vm->events, &ignored))
		;
	memset(vm->memory, 0, vm->memory_bytes);
	CHECK(ftruncate(vm->disk->fd, 0) == 0 && ftruncate(vm->disk->fd, MODEL_DISK_BYTES) == 0, "the disk is emptied");
	memset(vm->counters->refused, 0, sizeof(vm->counters->refused));
}

static void run_connection(struct ftd_vm *vm, const struct stream *stream, const struct standby_model *model,
			   bool stop_early)
{
	ftd_link_config link = { .generation = MODEL_GENERATION, .heartbeat_interval_ms = 1000,
				 .heartbeat_timeout_ms = 100000, .epoch_pages_max = MODEL_EPOCH_PAGES_MAX,
				 .parts_max = MODEL_PARTS_MAX, .epoch_disk_bytes = MODEL_EXTRA_MAX };
	int data[2], heartbeat[2];
	ftd_standby *standby;
	ftd_event event;
	ftd_error error;

	stub_sockets(data);
	stub_sockets(heartbeat);
	link.data_fd = data[0];
	link.heartbeat_fd = heartbeat[0];
	memcpy(link.vm_id, vm_id, sizeof(vm_id));
	reset(vm);
	standby = ftd_standby_start(vm, &link, &error);
	CHECK(standby, "%s", error.text);
	send_stream(stream, model, data[1]);
	if (stop_early) {
		/* Wherever it is: what has come whole is committed, and nothing that comes after that is acknowledged. */
		ftd_standby_stop(standby);
		check_acks(model, data[1], false);
	} else {
		event = final_event(vm, model, NEWS_DEADLINE_MS);
		ftd_standby_stop(standby);
		check_verdict(model, &event);
		check_refusals(model, vm);
		check_acks(model, data[1], true);
	}
	check_committed(model, vm, standby);
	ftd_standby_free(standby);
	close(data[1]);
	close(heartbeat[1]);
}

static void print_tally(const uint64_t *ends, const uint64_t *refusals)
{
	printf("closed %" PRIu64 " leave %" PRIu64 " handover %" PRIu64, ends[ENDS_CLOSED], ends[ENDS_WITH_LEAVE],
	       ends[ENDS_WITH_HANDOVER]);
	for (uint32_t i = MAGIC; i <= PAIR; i++)
		printf(" %u:%" PRIu64, i, refusals[i]);
	putchar('\n');
}

/* The address sanitizer calls it before it reports. */
void __asan_on_error(void);
void __asan_on_error(void)
{
	fprintf(stderr, "in case %" PRIu64 "\n", case_number);
}

int main(int argc, char **argv)
{
	uint64_t seed = argument_or(argc, argv, 1, 1), connections = argument_or(argc, argv, 2, 1000);
	uint64_t first = argument_or(argc, argv, 3, 0);	/* to reproduce one connection: its number, and 1 connection */
	uint64_t ends[4] = { 0 }, refusals[PAIR + 1] = { 0 };
	struct disk disk = { .fd = memfd_create("disk", MFD_CLOEXEC), .bytes = MODEL_DISK_BYTES };
	struct ftd_vm *vm = stub_machine_make(MODEL_PAGES * MODEL_PAGE_BYTES);
	struct script *script = malloc(sizeof(*script));
	struct stream *stream = malloc(sizeof(*stream));
	struct standby_model *model = malloc(sizeof(*model));

	CHECK(script && stream && model && disk.fd >= 0, "no memory");
	vm->disk = &disk;
	for (uint64_t i = first; i < first + connections; i++) {
		struct random random = { seed << 32 ^ i };

		case_number = i;
		write_script(script, &random);
		write_stream(stream, script, &random);
		memset(model, 0, sizeof(*model));
		memcpy(model->vm_id, vm_id, sizeof(vm_id));
		standby_model_judge(model, stream->bytes, stream->length);
		ends[model->end]++;
		refusals[model->refusal]++;
		run_connection(vm, stream, model, random_one_in(&random, 16));
	}
	print_tally(ends, refusals);
	close(disk.fd);
	stub_machine_free(vm);
	free(script);
	free(stream);
	free(model);
	return 0;
}
