/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The map of the blocks in which a standby's image differs, made before there
 * is a pair: the guest's own writes go into it from the beginning, what a
 * comparison of both images finds comes from outside, and the pair takes it
 * over as what its first synchronisation has to send.
 */
#include "disk.h"

#include "vm.h"

bool disk_take_watched(struct ftd_vm *vm, struct sync_bitmap *blocks)
{
	struct sync_bitmap own = *blocks;

	if (!vm->disk || !vm->disk->watched.words)
		return false;
	/* Whoever marks holds vm->devices: between the two maps no mark is lost. */
	blocks->words = vm->disk->watched.words;
	atomic_store(&blocks->pending, atomic_load(&vm->disk->watched.pending));
	release_pages(own.words, disk_map_words(vm->disk->bytes) * 8);
	vm->disk->watched = (struct sync_bitmap){ 0 };
	disk_track(vm, blocks);
	return true;
}

int ftd_vm_disk_watch(ftd_vm *vm, ftd_error *error)
{
	struct disk *disk = vm->disk;
	struct sync_bitmap empty = { 0 };

	if (!disk)
		return ftd_fail(error, EINVAL, "the VM has no disk");
	ftd_vm_disk_unwatch(vm);
	empty.words = reserve_pages(disk_map_words(disk->bytes) * 8);
	if (!empty.words)
		return ftd_fail(error, ENOMEM, "no memory for a map of the disk's blocks");
	pthread_mutex_lock(&vm->devices);
	if (disk->mode != DISK_PLAIN) {
		pthread_mutex_unlock(&vm->devices);
		release_pages(empty.words, disk_map_words(disk->bytes) * 8);
		return ftd_fail(error, EBUSY, "the disk is being replicated already");
	}
	disk->watched = empty;
	disk_track(vm, &disk->watched);
	pthread_mutex_unlock(&vm->devices);
	return 0;
}

/* Those that the disk has: the last word may have bits for more. */
static uint64_t blocks_of_word(const struct disk *disk, uint64_t word)
{
	uint64_t blocks = (disk->bytes + DISK_BLOCK_BYTES - 1) >> DISK_BLOCK_SHIFT;

	return blocks - word * 64 >= 64 ? ~0ull : (1ull << (blocks % 64)) - 1;
}

int ftd_vm_disk_differs(ftd_vm *vm, uint64_t first, const uint64_t *words, uint64_t words_count, ftd_error *error)
{
	struct disk *disk = vm->disk;
	uint64_t all = disk ? disk_map_words(disk->bytes) : 0;
	int result = 0;

	if (first > all || words_count > all - first)
		return ftd_fail(error, EINVAL, "the disk's map has %lu words", all);
	pthread_mutex_lock(&vm->devices);
	if (!disk->watched.words)
		result = ftd_fail(error, EINVAL, "the disk is not watched");
	for (uint64_t i = 0; i < words_count && !result; i++)
		sync_mark(&disk->watched, first + i, words[i] & blocks_of_word(disk, first + i));
	pthread_mutex_unlock(&vm->devices);
	return result;
}

void ftd_vm_disk_unwatch(ftd_vm *vm)
{
	struct disk *disk = vm->disk;

	if (!disk)
		return;
	pthread_mutex_lock(&vm->devices);
	if (disk->watched.words) {
		release_pages(disk->watched.words, disk_map_words(disk->bytes) * 8);
		disk->watched = (struct sync_bitmap){ 0 };
		disk_detach(vm);
	}
	pthread_mutex_unlock(&vm->devices);
}
