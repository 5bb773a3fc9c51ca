/* SPDX-License-Identifier: Apache-2.0 */
#include "standby_disk.h"

#include "disk.h"
#include "disk_file.h"
#include "fault.h"
#include "threads.h"
#include "vm.h"

static void note_error(struct standby_disk *disk, int error)
{
	int none = 0;

	if (error)
		atomic_compare_exchange_strong(&disk->error, &none, -error);
}

/* On a thread of its own: a sync takes milliseconds, for which no epoch should wait. */
static void *sync_main(void *argument)
{
	struct standby_disk *disk = argument;

	for (;;) {
		/* Before `wanted`: what was asked for before the stop is done before the end. */
		bool stopping = atomic_load(&disk->stopping);
		uint32_t wanted = atomic_load(&disk->wanted);

		if (wanted != atomic_load(&disk->synced)) {
			note_error(disk, disk_file_flush(disk->fd));
			atomic_store(&disk->synced, wanted);
		} else if (stopping) {
			return NULL;
		} else {
			futex_wait(&disk->wanted, wanted, 100 * FTD_MS);
		}
	}
}

int standby_disk_start(struct standby_disk *disk, struct ftd_vm *vm, uint32_t staged_max, ftd_error *error)
{
	int result;

	if (!vm->disk)
		return 0;
	disk->fd = vm->disk->fd;
	disk->bytes = vm->disk->bytes;
	disk->staged_max = staged_max;
	disk->staged = reserve_pages(staged_max);
	if (!disk->staged)
		return ftd_fail(error, ENOMEM, "no memory for the writes of an epoch");
	result = thread_start(&disk->thread, "disk-sync", sync_main, disk, NULL);
	if (result)
		return ftd_fail(error, result, "starting the disk's thread: %s", strerror(result));
	disk->started = true;
	return 0;
}

static int apply_record(struct standby_disk *disk, const struct disk_record *record, const char *data)
{
	switch (record->kind) {
	case DISK_WRITE:
		return disk_file_write(disk->fd, data, record->length, record->offset);
	case DISK_DISCARD:
		return disk_file_discard(disk->fd, record->length, record->offset);
	case DISK_ZEROES:
		return disk_file_zero(disk->fd, record->length, record->offset);
	default:
		standby_disk_want_sync(disk);
		return 0;
	}
}

int standby_disk_apply(struct standby_disk *disk, uint32_t length)
{
	struct disk_record record;
	const char *data;
	uint32_t at = 0;

	while (!standby_disk_error(disk) && disk_log_next(disk->staged, length, disk->bytes, &at, &record, &data) > 0) {
		note_error(disk, apply_record(disk, &record, data));
		fault_point(FAULT_COMMIT_DISK);
	}
	return standby_disk_error(disk);
}

void standby_disk_want_sync(struct standby_disk *disk)
{
	if (!disk->started)
		return;
	atomic_fetch_add(&disk->wanted, 1);
	futex_wake(&disk->wanted, 1);
}

int standby_disk_stop(struct standby_disk *disk)
{
	if (disk->started) {
		atomic_store(&disk->stopping, true);
		futex_wake(&disk->wanted, 1);
		pthread_join(disk->thread, NULL);
		disk->started = false;
	}
	return standby_disk_error(disk);
}

void standby_disk_free(struct standby_disk *disk)
{
	standby_disk_stop(disk);
	release_pages(disk->staged, disk->staged_max);
}
