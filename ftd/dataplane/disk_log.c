/* SPDX-License-Identifier: Apache-2.0 */
#include "disk_log.h"

int disk_log_open(struct disk_log *log, uint32_t max)
{
	log->bytes = reserve_pages(max);
	log->max = max;
	log->used = 0;
	return log->bytes ? 0 : -1;
}

void disk_log_close(struct disk_log *log)
{
	release_pages(log->bytes, log->max);
	log->bytes = NULL;
}

void disk_log_append(struct disk_log *log, struct disk_record record, const void *data)
{
	char *to = log->bytes + log->used;

	memcpy(to, &record, sizeof(record));
	to += sizeof(record);
	if (record.kind == DISK_WRITE) {
		memset(to + record.length, 0, -record.length % 8u);	/* no old bytes on the wire */
		memcpy(to, data, record.length);
	}
	log->used += (uint32_t)disk_record_bytes(record.kind, record.length);
}

static bool record_is_sound(const struct disk_record *record, uint64_t disk_bytes)
{
	if (record->kind == DISK_FLUSH)
		return record->offset == 0 && record->length == 0;
	if (record->kind < DISK_WRITE || record->kind > DISK_FLUSH)
		return false;
	return record->length > 0 && record->offset <= disk_bytes && record->length <= disk_bytes - record->offset;
}

int disk_log_next(const char *bytes, uint32_t length, uint64_t disk_bytes, uint32_t *at, struct disk_record *record,
		  const char **data)
{
	uint64_t needed;

	if (*at == length)
		return 0;
	if (length - *at < sizeof(*record))
		return -1;
	memcpy(record, bytes + *at, sizeof(*record));	/* need not be aligned */
	needed = disk_record_bytes(record->kind, record->length);
	if (!record_is_sound(record, disk_bytes) || needed > length - *at)
		return -1;
	*data = bytes + *at + sizeof(*record);
	*at += (uint32_t)needed;
	return 1;
}

enum refusal disk_log_check(const char *bytes, uint32_t length, uint64_t disk_bytes)
{
	struct disk_record record;
	const char *data;
	uint32_t at = 0;
	int found;

	do
		found = disk_log_next(bytes, length, disk_bytes, &at, &record, &data);
	while (found > 0);
	return found < 0 ? REFUSED_DISK : REFUSED_NOT;
}
