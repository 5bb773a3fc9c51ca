/* SPDX-License-Identifier: Apache-2.0 */
#include "disk.h"

#include <stdlib.h>

#include "disk_file.h"
#include "fault.h"
#include "threads.h"
#include "vm.h"

#define ROOM_RETRY_NS (10 * FTD_MS)
/* The rest is for the other devices; and an epoch's pages must fit the arenas. */
#define MARKS_MAX (DEVICE_MARKS_MAX / 2)

/* ---- waiting. vm->devices is held, but while it sleeps ---- */

/* A checkpoint makes room, so one is asked for. */
static void wait_for_room(struct disk *disk, enum disk_room what)
{
	struct ftd_vm *vm = disk->vm;
	uint32_t room = atomic_load(&disk->room);
	uint64_t began = now_ns();

	/* Whoever makes room holds vm->devices: it comes after this look, and so sees the wish and changes `room`. */
	atomic_store(&disk->room_wanted, what);
	pthread_mutex_unlock(&vm->devices);
	if (!atomic_load(&disk->stop)) {
		vm_request_stop(vm, STOP_TICK);
		futex_wait(&disk->room, room, ROOM_RETRY_NS);
	}
	count(&vm->counters->disk_waits, 1);
	count(&vm->counters->disk_wait_ns, now_ns() - began);
	pthread_mutex_lock(&vm->devices);
}

void disk_room_made(struct ftd_vm *vm, enum disk_room what)
{
	if (!vm->disk || !(atomic_load(&vm->disk->room_wanted) & what))
		return;
	atomic_store(&vm->disk->room_wanted, 0);
	atomic_fetch_add(&vm->disk->room, 1);
	futex_wake(&vm->disk->room, 1);
}

static void wait_for_marks(struct disk *disk, uint32_t pages)
{
	while (disk->vm->marking && disk->vm->marked_count + pages > MARKS_MAX && !atomic_load(&disk->stop))
		wait_for_room(disk, ROOM_FOR_MARKS);
}

/* The driver still waits for this request. */
static bool is_current(const struct disk *disk)
{
	return disk->request.resets == disk->resets && !atomic_load(&disk->stop);
}

/* ---- what was written. vm->devices is held ---- */

static void mark_blocks(struct sync_bitmap *blocks, uint64_t offset, uint64_t length)
{
	for (uint64_t block = offset >> DISK_BLOCK_SHIFT; block <= (offset + length - 1) >> DISK_BLOCK_SHIFT; block++)
		sync_mark(blocks, block / 64, 1ull << (block % 64));
}

/* After the disk was changed, and whatever became of the request: the disk has it. */
static void note(struct disk *disk, enum disk_kind kind, uint64_t offset, uint64_t length, const void *data)
{
	struct disk_record record = { .offset = offset, .length = (uint32_t)length, .kind = kind };

	while (disk->mode == DISK_LOG && !disk_log_fits(&disk->log, kind, record.length) && !atomic_load(&disk->stop))
		wait_for_room(disk, ROOM_IN_LOG);
	if (disk->mode == DISK_TRACK && length)
		mark_blocks(disk->blocks, offset, length);
	else if (disk->mode == DISK_LOG && disk_log_fits(&disk->log, kind, record.length))
		disk_log_append(&disk->log, record, data);
}

static void note_locked(struct disk *disk, enum disk_kind kind, uint64_t offset, uint64_t length, const void *data)
{
	pthread_mutex_lock(&disk->vm->devices);
	note(disk, kind, offset, length, data);
	pthread_mutex_unlock(&disk->vm->devices);
}

/*
 * After a failed change some of it may be there. The guest is told of the
 * failure; what it reads from there must not change with a failover.
 */
static void note_as_it_is(struct disk *disk, uint64_t offset, uint64_t length)
{
	while (length && !atomic_load(&disk->stop)) {
		uint64_t part = min_u64(length, DISK_PIECE_BYTES);

		if (disk_file_read(disk->fd, disk->piece, part, offset) == 0)
			note_locked(disk, DISK_WRITE, offset, part, disk->piece);
		offset += part;
		length -= part;
	}
}

/* ---- requests ---- */

static int read_data(struct disk *disk, struct block_request *request)
{
	struct ftd_vm *vm = disk->vm;
	int error = 0;
	bool going = true;

	for (uint64_t at = 0; at < request->length && going && !error; at += DISK_PIECE_BYTES) {
		uint64_t part = min_u64(request->length - at, DISK_PIECE_BYTES);

		error = disk_file_read(disk->fd, disk->piece, part, request->offset + at);
		if (error)
			break;
		count(&vm->counters->disk_bytes_read, part);
		pthread_mutex_lock(&vm->devices);
		wait_for_marks(disk, virtio_chain_pages(part, request->chain.count));
		going = is_current(disk) && block_copy_out(vm, request, at, disk->piece, part);
		pthread_mutex_unlock(&vm->devices);
	}
	return error;
}

static int write_data(struct disk *disk, struct block_request *request)
{
	struct ftd_vm *vm = disk->vm;
	int error = 0;

	for (uint64_t at = 0; at < request->length && !error; at += DISK_PIECE_BYTES) {
		uint64_t part = min_u64(request->length - at, DISK_PIECE_BYTES);
		bool going, flushes;

		pthread_mutex_lock(&vm->devices);
		flushes = block_flushes(vm);
		going = is_current(disk) && block_copy_in(vm, request, at, disk->piece, part);
		pthread_mutex_unlock(&vm->devices);
		if (!going)
			break;
		error = disk_file_write(disk->fd, disk->piece, part, request->offset + at);
		if (!error && !flushes)
			error = disk_file_flush(disk->fd);
		count(&vm->counters->disk_bytes_written, part);
		fault_point(FAULT_DISK_WRITTEN);
		if (error)
			note_as_it_is(disk, request->offset + at, part);
		else
			note_locked(disk, DISK_WRITE, request->offset + at, part, disk->piece);
		if (!error && !flushes)
			note_locked(disk, DISK_FLUSH, 0, 0, NULL);
	}
	return error;
}

static int clear_ranges(struct disk *disk, struct block_request *request)
{
	int error = 0;

	for (uint32_t i = 0; i < request->range_count && !error; i++) {
		const struct block_range *range = &request->ranges[i];
		bool discard = request->operation == BLOCK_DISCARD || range->unmap;

		error = discard ? disk_file_discard(disk->fd, range->length, range->offset) :
				  disk_file_zero(disk->fd, range->length, range->offset);
		if (error)
			note_as_it_is(disk, range->offset, range->length);
		else
			note_locked(disk, discard ? DISK_DISCARD : DISK_ZEROES, range->offset, range->length, NULL);
	}
	return error;
}

static int flush(struct disk *disk)
{
	int error = disk_file_flush(disk->fd);

	count(&disk->vm->counters->disk_flushes, 1);
	if (!error)
		note_locked(disk, DISK_FLUSH, 0, 0, NULL);
	return error;
}

static void tell_id(struct disk *disk, struct block_request *request)
{
	pthread_mutex_lock(&disk->vm->devices);
	wait_for_marks(disk, virtio_chain_pages(DISK_ID_BYTES, request->chain.count));
	if (is_current(disk))
		block_copy_out(disk->vm, request, 0, disk->id, request->length);
	pthread_mutex_unlock(&disk->vm->devices);
}

static int carry_out(struct disk *disk, struct block_request *request)
{
	switch (request->operation) {
	case BLOCK_READ:
		return read_data(disk, request);
	case BLOCK_WRITE:
		return write_data(disk, request);
	case BLOCK_FLUSH:
		return flush(disk);
	case BLOCK_DISCARD:
	case BLOCK_ZEROES:
		return clear_ranges(disk, request);
	case BLOCK_ID:
		tell_id(disk, request);
		return 0;
	default:
		return 0;
	}
}

static void execute(struct disk *disk, struct block_request *request)
{
	struct ftd_vm *vm = disk->vm;

	if (carry_out(disk, request)) {
		request->status = BLOCK_STATUS_ERROR;
		count(&vm->counters->disk_errors, 1);
	}
	fault_point(FAULT_DISK_NOTED);
	pthread_mutex_lock(&vm->devices);
	wait_for_marks(disk, virtio_chain_pages(0, 1));
	if (is_current(disk))
		block_finish(vm, request);
	pthread_mutex_unlock(&vm->devices);
}

static void *disk_main(void *argument)
{
	struct disk *disk = argument;

	while (!atomic_load(&disk->stop)) {
		uint32_t work = atomic_load(&disk->work);
		bool found;

		pthread_mutex_lock(&disk->vm->devices);
		found = block_next(disk->vm, &disk->request);
		pthread_mutex_unlock(&disk->vm->devices);
		if (found)
			execute(disk, &disk->request);
		else
			futex_wait(&disk->work, work, 0);	/* what was offered after the look has changed `work` */
	}
	return NULL;
}

/* ---- from outside ---- */

void disk_notify(struct ftd_vm *vm)
{
	atomic_fetch_add(&vm->disk->work, 1);
	futex_wake(&vm->disk->work, 1);
}

void disk_reset(struct ftd_vm *vm)
{
	vm->disk->resets++;
}

void disk_track(struct ftd_vm *vm, struct sync_bitmap *blocks)
{
	if (!vm->disk)
		return;
	vm->disk->blocks = blocks;
	vm->disk->mode = DISK_TRACK;
}

static void swap_log(struct disk *disk, struct disk_log *log)
{
	struct disk_log empty = { .bytes = log->bytes, .max = log->max };

	*log = disk->log;
	disk->log = empty;
}

void disk_begin_log(struct ftd_vm *vm, struct disk_log *log)
{
	if (!vm->disk)
		return;
	swap_log(vm->disk, log);
	vm->disk->mode = DISK_LOG;
}

void disk_seal(struct ftd_vm *vm, struct disk_log *log)
{
	if (!vm->disk || vm->disk->mode != DISK_LOG)
		return;
	swap_log(vm->disk, log);
	disk_room_made(vm, ROOM_IN_LOG);
}

void disk_release_log(struct ftd_vm *vm)
{
	if (!vm->disk)
		return;
	pthread_mutex_lock(&vm->devices);
	disk_log_close(&vm->disk->log);
	pthread_mutex_unlock(&vm->devices);
}

void disk_detach(struct ftd_vm *vm)
{
	if (!vm->disk)
		return;
	vm->disk->mode = DISK_PLAIN;
	vm->disk->blocks = NULL;
	disk_room_made(vm, ROOM_FOR_MARKS | ROOM_IN_LOG);
}

/* ---- life ---- */

int disk_open(struct ftd_vm *vm, const ftd_vm_config *config, ftd_error *error)
{
	struct disk *disk;

	if (!config->disk_bytes)
		return 0;
	disk = calloc(1, sizeof(*disk));
	if (!disk) {
		close(config->disk_fd);
		return ftd_fail(error, ENOMEM, "no memory for a disk");
	}
	vm->disk = disk;
	disk->vm = vm;
	disk->fd = config->disk_fd;
	disk->bytes = config->disk_bytes;
	memcpy(disk->id, config->disk_id, sizeof(disk->id));
	disk->piece = reserve_pages(DISK_PIECE_BYTES);
	if (!disk->piece)
		return ftd_fail(error, ENOMEM, "no memory for a disk's requests");
	if (disk->bytes % BLOCK_SECTOR_BYTES)
		return ftd_fail(error, EINVAL, "a disk of %lu bytes is not of whole sectors", disk->bytes);
	vm->virtio[VIRTIO_DISK].kind = &block_kind;
	return 0;
}

void disk_close(struct ftd_vm *vm)
{
	if (!vm->disk)
		return;
	release_pages(vm->disk->watched.words, disk_map_words(vm->disk->bytes) * 8);
	close(vm->disk->fd);
	release_pages(vm->disk->piece, DISK_PIECE_BYTES);
	free(vm->disk);
	vm->disk = NULL;
}

int disk_start(struct ftd_vm *vm, ftd_error *error)
{
	int result = vm->disk ? thread_start(&vm->disk->thread, "disk", disk_main, vm->disk, NULL) : 0;

	if (result)
		return ftd_fail(error, result, "starting the disk's thread: %s", strerror(result));
	if (vm->disk)
		vm->disk->started = true;
	return 0;
}

void disk_stop(struct ftd_vm *vm)
{
	struct disk *disk = vm->disk;

	if (!disk || !disk->started)
		return;
	atomic_store(&disk->stop, true);
	atomic_fetch_add(&disk->work, 1);
	futex_wake(&disk->work, 1);
	atomic_fetch_add(&disk->room, 1);
	futex_wake(&disk->room, 1);
	pthread_join(disk->thread, NULL);
	disk->started = false;
}
