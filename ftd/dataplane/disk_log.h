/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What an epoch changed on the disk: records as on the wire (docs/PROTOCOL.md),
 * one after the other, each with its data padded to 8 bytes.
 */
#ifndef FTD_DISK_LOG_H
#define FTD_DISK_LOG_H

#include "base.h"
#include "frame.h"

enum disk_kind { DISK_WRITE = 1, DISK_DISCARD, DISK_ZEROES, DISK_FLUSH };

struct disk_record {
	uint64_t offset;	/* bytes */
	uint32_t length;	/* bytes */
	uint32_t kind;
};
_Static_assert(sizeof(struct disk_record) == 16, "layout of docs/PROTOCOL.md");

struct disk_log {
	char *bytes;	/* aligned to 8 */
	uint32_t used, max;
};

/* A piece of a request, or a batch of the first synchronisation, fits the one; a frame's length the other. */
#define DISK_LOG_BYTES_MIN (512u << 10)
#define DISK_LOG_BYTES_MAX (64u << 20)

/* Bytes that a record takes in a log. */
static inline uint64_t disk_record_bytes(uint32_t kind, uint32_t length)
{
	return sizeof(struct disk_record) + (kind == DISK_WRITE ? ((uint64_t)length + 7) / 8 * 8 : 0);
}

/* 0, or -1 with errno. */
int disk_log_open(struct disk_log *log, uint32_t max);
void disk_log_close(struct disk_log *log);

static inline bool disk_log_fits(const struct disk_log *log, uint32_t kind, uint32_t length)
{
	return disk_record_bytes(kind, length) <= log->max - log->used;
}

/* It fits. `data` counts for writes only. */
void disk_log_append(struct disk_log *log, struct disk_record record, const void *data);

/*
 * The record at `*at` of a log that came from elsewhere, and `*at` behind it:
 * 1; 0 at the end; -1 if it is malformed or reaches outside the disk.
 */
int disk_log_next(const char *bytes, uint32_t length, uint64_t disk_bytes, uint32_t *at, struct disk_record *record,
		  const char **data);
/* Every record. Nothing of a log may be applied before this says REFUSED_NOT. */
enum refusal disk_log_check(const char *bytes, uint32_t length, uint64_t disk_bytes);

#endif
