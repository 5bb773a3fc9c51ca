/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a standby must make of a stream of bytes, written from docs/PROTOCOL.md
 * alone: the whole stream is judged at once, so that nothing of how the
 * product receives it (threads, staging, partial reads) is repeated here.
 */
#ifndef FTD_TEST_STANDBY_MODEL_H
#define FTD_TEST_STANDBY_MODEL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define MODEL_PAGES 24u
#define MODEL_PAGE_BYTES 4096u
#define MODEL_LINE_BYTES 64u
#define MODEL_EPOCH_PAGES_MAX 8u
#define MODEL_PARTS_MAX 3u
#define MODEL_STATE_MAX (1u << 20)
#define MODEL_GENERATION 7u
#define MODEL_EPOCHS_MAX 64u
#define MODEL_DISK_BYTES 8192u
#define MODEL_EXTRA_MAX 3000u

enum { HEADER_BYTES = 80 };
enum model_type { SYNC = 4, EPOCH = 5, PART = 6, LEAVE = 9, HANDOVER = 11, DISK = 13 };
enum model_record { WRITE = 1, DISCARD = 2, ZEROES = 3, FLUSH = 4 };
enum model_refusal {
	NOT_REFUSED, MAGIC, HEADER_CRC, VERSION, TYPE, VM, GENERATION, FLAGS, UNUSED_8, LENGTH, PAGES_LEN, EPOCH_NUMBER,
	BODY_CRC, GFN, ENCODING, TOKEN, HELLO, OVERSIZE, DUPLICATE, STATE,
	DISK_WRITES, PAIR,
};

/* Where the fields of a header stand. */
enum model_field {
	AT_MAGIC = 0, AT_VERSION = 4, AT_TYPE = 6, AT_VM = 8, AT_GENERATION = 24, AT_EPOCH = 32, AT_FLAGS = 40,
	AT_STATE_LEN = 44, AT_PAGE_COUNT = 48, AT_PAGES_LEN = 52, AT_EXTRA_LEN = 56, AT_BODY_CRC = 60, AT_STAMP = 64,
	AT_PAIR = 72, AT_HEADER_CRC = 76,
};

enum model_end { ENDS_CLOSED, ENDS_REFUSED, ENDS_WITH_LEAVE, ENDS_WITH_HANDOVER };

struct standby_model {
	uint8_t vm_id[16];
	uint8_t image[MODEL_PAGES][MODEL_PAGE_BYTES];
	uint8_t disk[MODEL_DISK_BYTES];
	uint64_t epoch;			/* newest complete one */
	uint64_t stamps[MODEL_EPOCHS_MAX];	/* by epoch: what its acknowledgement echoes */
	const uint8_t *state;
	uint32_t state_len;
	uint32_t parts_received;
	const uint8_t *parts[MODEL_PARTS_MAX];
	enum model_end end;
	enum model_refusal refusal;
	bool image_undefined;		/* broke off within the first synchronisation: can never activate */
	size_t needed;			/* bytes of the last frame that had to be read to judge it */
	size_t judged;			/* bytes of the stream that a standby reads */
};

uint64_t model_field(const uint8_t *frame, enum model_field at, size_t bytes);
void model_set_field(uint8_t *frame, enum model_field at, uint64_t value, size_t bytes);
/* Makes the header's checksum right. */
void model_seal_header(uint8_t *frame);
uint64_t model_body_len(const uint8_t *frame);
/* What a list entry, a good one, announces. */
uint32_t model_contents_len(uint64_t entry);

/* The caller has zeroed the model and set vm_id. Pointers into `bytes` are kept. */
void standby_model_judge(struct standby_model *model, const uint8_t *bytes, size_t length);

#endif
