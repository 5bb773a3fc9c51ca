/* SPDX-License-Identifier: Apache-2.0 */
#define _GNU_SOURCE
#include "disk_sync.h"

#include <sys/uio.h>

#include "crc32c.h"
#include "disk.h"
#include "disk_file.h"
#include "fault.h"
#include "primary.h"

#define BATCH_BYTES (256u << 10)	/* still in the cache when it is sent */
#define FEW_BLOCKS 16u
/* Of one discard: a record's length has 32 bits. */
#define HOLE_BYTES_MAX (1ull << 30)

static void count_total(struct ftd_primary *primary)
{
	count_set(&primary->vm->counters->disk_sync_total,
		  atomic_load(&primary->disk.blocks.pending) << DISK_BLOCK_SHIFT);
}

int disk_sync_open(struct ftd_primary *primary)
{
	struct disk_sync *sync = &primary->disk;
	struct disk *disk = primary->vm->disk;

	atomic_store(&sync->done, !disk);
	atomic_store(&sync->busy, disk != NULL);	/* the disk comes first */
	if (!disk)
		return 0;
	sync->bitmap_bytes = disk_map_words(disk->bytes) * 8;
	sync->blocks.words = reserve_pages(sync->bitmap_bytes);
	if (!sync->blocks.words || disk_log_open(&sync->log, primary->link.epoch_disk_bytes) < 0)
		return -1;
	return disk_log_open(&sync->batch, BATCH_BYTES);
}

void disk_sync_close(struct ftd_primary *primary)
{
	struct disk_sync *sync = &primary->disk;

	release_pages(sync->blocks.words, sync->bitmap_bytes);
	disk_log_close(&sync->log);
	disk_log_close(&sync->batch);
}

void disk_sync_begin(struct ftd_primary *primary)
{
	struct disk_sync *sync = &primary->disk;

	/* All that differs is in a map that was watched: there is nothing to look for. */
	sync->scanned = disk_take_watched(primary->vm, &sync->blocks);
	if (sync->scanned)
		count_total(primary);
	else
		disk_track(primary->vm, &sync->blocks);
}

/* ---- frames ---- */

static bool send_batch(struct ftd_primary *primary)
{
	struct disk_log *batch = &primary->disk.batch;
	struct frame_header header;
	struct iovec iov[2] = { { &header, sizeof(header) }, { batch->bytes, batch->used } };

	if (sender_sync_is_over(primary))
		return false;
	if (!batch->used)
		return true;
	frame_prepare(&header, &primary->rules, FRAME_DISK, 0);
	header.extra_len = batch->used;
	header.body_crc = ftd_crc32c(0, batch->bytes, batch->used);
	frame_seal(&header);
	batch->used = 0;
	if (!sender_send(primary, iov, ARRAY_SIZE(iov)))
		return false;
	count_set(&primary->vm->counters->disk_sync_pending, atomic_load(&primary->disk.blocks.pending) << DISK_BLOCK_SHIFT);
	fault_point(FAULT_ENTER_IN_DISK);
	return true;
}

static bool add_record(struct ftd_primary *primary, struct disk_record record, const void *data)
{
	struct disk_log *batch = &primary->disk.batch;

	if (!disk_log_fits(batch, record.kind, record.length) && !send_batch(primary))
		return false;
	disk_log_append(batch, record, data);
	return true;
}

/* ---- what there is to send ---- */

static void mark_blocks(struct disk_sync *sync, uint64_t from, uint64_t end)
{
	for (uint64_t block = from >> DISK_BLOCK_SHIFT; block < (end + DISK_BLOCK_BYTES - 1) >> DISK_BLOCK_SHIFT; block++)
		sync_mark(&sync->blocks, block / 64, 1ull << (block % 64));
}

/* Whole blocks of a hole; the standby may have something there. */
static bool send_hole(struct ftd_primary *primary, uint64_t from, uint64_t end)
{
	from = (from + DISK_BLOCK_BYTES - 1) & ~(DISK_BLOCK_BYTES - 1);
	if (end != primary->vm->disk->bytes)
		end &= ~(DISK_BLOCK_BYTES - 1);
	while (from < end) {
		uint64_t part = min_u64(end - from, HOLE_BYTES_MAX);

		if (!add_record(primary, (struct disk_record){ from, (uint32_t)part, DISK_DISCARD }, NULL))
			return false;
		from += part;
	}
	return true;
}

/* Blocks are tracked since before: what is written into a hole from here on is sent after the hole. */
static bool scan(struct ftd_primary *primary)
{
	struct disk *disk = primary->vm->disk;
	uint64_t at = 0;

	while (at < disk->bytes) {
		off_t data = lseek(disk->fd, (off_t)at, SEEK_DATA);
		off_t hole = data < 0 ? -1 : lseek(disk->fd, data, SEEK_HOLE);

		if (data < 0 && errno == ENXIO) {
			data = hole = (off_t)disk->bytes;
		} else if (data < 0 || hole < 0) {	/* cannot be told, as with a block device: all of it is data */
			data = (off_t)at;
			hole = (off_t)disk->bytes;
		}
		if (!send_hole(primary, at, min_u64((uint64_t)data, disk->bytes)))
			return false;
		at = min_u64((uint64_t)hole, disk->bytes);
		if ((uint64_t)data < at)
			mark_blocks(&primary->disk, (uint64_t)data, at);
	}
	count_total(primary);
	primary->disk.scanned = true;
	return send_batch(primary);
}

static bool is_zero(const char *data, uint64_t length)
{
	return length == 0 || (data[0] == 0 && memcmp(data, data + 1, length - 1) == 0);
}

static bool send_block(struct ftd_primary *primary, uint64_t block)
{
	struct disk *disk = primary->vm->disk;
	uint64_t offset = block << DISK_BLOCK_SHIFT, length = min_u64(DISK_BLOCK_BYTES, disk->bytes - offset);
	char *data = primary->batch;	/* no page is being sent meanwhile */
	int error = disk_file_read(disk->fd, data, length, offset);
	bool zero;

	if (error) {
		primary_lost(primary, FTD_LOST_DISK_HERE, -error);
		return false;
	}
	zero = is_zero(data, length);
	count(&primary->vm->counters->disk_sync_bytes, length);
	return add_record(primary, (struct disk_record){ offset, (uint32_t)length, zero ? DISK_DISCARD : DISK_WRITE }, data);
}

static bool send_pass(struct ftd_primary *primary)
{
	struct disk_sync *sync = &primary->disk;

	for (uint64_t word = 0; word < sync->bitmap_bytes / 8; word++) {
		/* Cleared before the blocks are read: a write that a read misses sets its bit after this. */
		uint64_t bits = atomic_exchange(&sync->blocks.words[word], 0);

		atomic_fetch_sub(&sync->blocks.pending, (uint64_t)__builtin_popcountll(bits));
		for (; bits; bits &= bits - 1)
			if (!send_block(primary, word * 64 + (unsigned int)__builtin_ctzll(bits)))
				return false;
	}
	return send_batch(primary);
}

bool disk_sync_round(struct ftd_primary *primary)
{
	struct disk_sync *sync = &primary->disk;
	uint64_t before;

	if (atomic_load(&sync->done))
		return true;
	atomic_store(&sync->busy, true);
	primary_room_made(primary);
	if (!sync->scanned && !scan(primary))
		return false;
	/* Again while a pass leaves less than half of what it began with. */
	do {
		before = atomic_load(&sync->blocks.pending);
		if (!send_pass(primary))
			return false;
	} while (atomic_load(&sync->blocks.pending) > FEW_BLOCKS && atomic_load(&sync->blocks.pending) <= before / 2);
	atomic_store(&sync->busy, false);
	return true;
}

bool disk_sync_finish(struct ftd_primary *primary)
{
	struct ftd_vm *vm = primary->vm;
	struct disk_sync *sync = &primary->disk;

	if (atomic_load(&sync->done))
		return true;
	pthread_mutex_lock(&vm->devices);
	/* Not for a pair that ended meanwhile: it has detached the disk. */
	if (vm->disk->mode == DISK_TRACK)
		disk_begin_log(vm, &sync->log);
	pthread_mutex_unlock(&vm->devices);
	if (!send_pass(primary))
		return false;
	atomic_store(&sync->done, true);
	return true;
}
