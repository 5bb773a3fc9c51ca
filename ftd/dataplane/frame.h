/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Frames of the data pair: docs/PROTOCOL.md has the drawing, the types and
 * what each check refuses. This side encodes and judges; it does no I/O.
 */
#ifndef FTD_FRAME_H
#define FTD_FRAME_H

#include "base.h"

#define FRAME_MAGIC 0x31445446u	/* "FTD1" read little-endian */
#define FRAME_VERSION 5

enum frame_type {
	FRAME_HELLO = 1, FRAME_WELCOME, FRAME_REFUSE, FRAME_SYNC, FRAME_EPOCH, FRAME_PART, FRAME_ACK,
	FRAME_HEARTBEAT, FRAME_LEAVE, FRAME_LEAVE_ACK, FRAME_HANDOVER, FRAME_HANDOVER_DONE,
	FRAME_DISK, FRAME_DISK_FAILED, FRAME_DIGESTS, FRAME_TYPES,
};
#define FRAME_BIT(type) (1u << (type))

enum { HEARTBEAT_ECHO = 1, HEARTBEAT_STANDBY = 2 };
#define DISK_FAILED_ERRNO 0xfffu	/* flags of DISK_FAILED */

struct frame_header {
	uint32_t magic;
	uint16_t version, type;
	uint8_t vm_id[16];
	uint64_t generation, epoch;
	uint32_t flags, state_len, page_count, pages_len, extra_len, body_crc;
	uint64_t stamp_ns;
	uint32_t pair, header_crc;
};
_Static_assert(sizeof(struct frame_header) == 80, "header has 80 bytes and no padding");
_Static_assert(offsetof(struct frame_header, generation) == 24, "layout of docs/PROTOCOL.md");
_Static_assert(offsetof(struct frame_header, body_crc) == 60, "layout of docs/PROTOCOL.md");
_Static_assert(offsetof(struct frame_header, header_crc) == 76, "layout of docs/PROTOCOL.md");
_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "fields are read in place");

/*
 * Dirty list entry: guest frame number and how the contents follow. A DELTA is
 * what differs from the page that was sent last: a mask of its 64 lines, then
 * the lines, whose number stands in the entry, so that the list alone says
 * where each page's contents begin.
 */
#define ENTRY_GFN_BITS 52
#define ENTRY_GFN_MASK (((uint64_t)1 << ENTRY_GFN_BITS) - 1)
#define ENTRY_LINES_SHIFT 56
#define ENTRY_ENCODING(entry) ((uint32_t)((entry) >> ENTRY_GFN_BITS) & 0xfu)
#define ENTRY_LINES(entry) ((uint32_t)((entry) >> ENTRY_LINES_SHIFT))
enum { ENCODING_RAW = 0, ENCODING_ZERO = 1, ENCODING_DELTA = 2 };
#define LINE_BYTES 64u
#define LINES_MAX 63u		/* of a DELTA: one of all 64 would be longer than the page */

static inline uint32_t delta_len(uint32_t lines)
{
	return 8 + lines * LINE_BYTES;
}

/* Bytes of contents. */
static inline uint32_t entry_len(uint64_t entry)
{
	switch (ENTRY_ENCODING(entry)) {
	case ENCODING_RAW:
		return FTD_PAGE_SIZE;
	case ENCODING_DELTA:
		return delta_len(ENTRY_LINES(entry));
	default:
		return 0;
	}
}

/* Same names and ordinals as Refusal in ftd/protocol/refusal.py. */
enum refusal {
	REFUSED_NOT = 0,
	REFUSED_MAGIC, REFUSED_HEADER_CRC, REFUSED_VERSION, REFUSED_TYPE, REFUSED_VM, REFUSED_GENERATION,
	REFUSED_FLAGS, REFUSED_UNUSED_8, REFUSED_LENGTH, REFUSED_PAGES_LEN, REFUSED_EPOCH, REFUSED_BODY_CRC,
	REFUSED_GFN, REFUSED_ENCODING, REFUSED_TOKEN, REFUSED_HELLO, REFUSED_OVERSIZE, REFUSED_DUPLICATE,
	REFUSED_STATE, REFUSED_DISK, REFUSED_PAIR, REFUSED_PROCESSOR,
};

/* What a connection expects; every field was fixed when the pair was made. */
struct frame_rules {
	uint8_t vm_id[16];
	uint64_t generation;
	uint32_t pair;			/* follows from the token: no other pair of this generation has it */
	uint64_t memory_bytes;
	uint64_t disk_bytes;
	uint32_t extra_max;		/* bytes of disk writes; 0 without a disk */
	uint32_t state_max;		/* bytes */
	uint32_t pages_max;		/* entries of one frame */
	uint32_t parts_max;		/* frames of one epoch */
	uint32_t allowed;		/* FRAME_BIT of each */
};

#define STATE_MAX_BYTES (1u << 20)

void frame_prepare(struct frame_header *header, const struct frame_rules *rules, enum frame_type type,
		   uint64_t epoch);
/* Fills header_crc; after this the header is on its way unchanged. */
void frame_seal(struct frame_header *header);

/* How far a connection has come. */
struct frame_position {
	uint64_t epoch_last;		/* newest complete epoch (standby), newest acknowledged one (primary) */
	uint64_t epoch_sent;		/* primary: newest epoch that may be acknowledged */
	uint32_t parts_received;	/* standby: parts of the epoch in progress */
};

/* The first reason to refuse; nothing of the body may be read before this says REFUSED_NOT. */
enum refusal frame_check_header(const struct frame_header *header, const struct frame_rules *rules,
				const struct frame_position *position);
/* Every entry's gfn and encoding, and that their contents make up pages_len. */
enum refusal frame_check_list(const struct frame_header *header, const void *list,
			      const struct frame_rules *rules);
/* After it: each DELTA has as many lines in its mask as its entry says. */
enum refusal frame_check_deltas(const struct frame_header *header, const void *list, const char *contents);

static inline uint64_t frame_body_len(const struct frame_header *header)
{
	return (uint64_t)header->state_len + 8ull * header->page_count + header->pages_len + header->extra_len;
}

#endif
