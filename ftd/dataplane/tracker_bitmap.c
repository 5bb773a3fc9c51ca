/* SPDX-License-Identifier: Apache-2.0 */
/*
 * KVM's dirty bitmap with manual protection: KVM_GET_DIRTY_LOG only reads, and
 * KVM_CLEAR_DIRTY_LOG re-arms just the pages whose bits it is given. A page
 * that is never cleared stays writable and stays set in the kernel's bitmap:
 * that is what the hot set is made of. Reading costs in proportion to memory.
 */
#include <sys/ioctl.h>

#include "memory_map.h"
#include "vm.h"

/* One clear call spans at most this many clean pages: past it, a second call is cheaper than copying zeros. */
#define CLEAR_GAP_PAGES (1ull << 17)

static bool bitmap_offered(int kvm_fd)
{
	int modes = ioctl(kvm_fd, KVM_CHECK_EXTENSION, KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2);

	return modes > 0 && (modes & KVM_DIRTY_LOG_MANUAL_PROTECT_ENABLE);
}

static int bitmap_prepare(struct ftd_vm *vm, ftd_error *error)
{
	struct kvm_enable_cap cap = { .cap = KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2,
				      .args = { KVM_DIRTY_LOG_MANUAL_PROTECT_ENABLE } };

	if (ioctl(vm->fd, KVM_ENABLE_CAP, &cap) < 0)
		return ftd_fail(error, errno, "enabling manual dirty-log protection: %s", strerror(errno));
	vm->kernel_bitmap_bytes = (vm->pages + 63) / 64 * 8;
	/* The second half is scratch for re-arming: all zero between calls. */
	vm->kernel_bitmap = reserve_pages(2 * vm->kernel_bitmap_bytes);
	if (!vm->kernel_bitmap)
		return ftd_fail(error, errno, "no memory for dirty bitmaps of %zu bytes", vm->kernel_bitmap_bytes);
	return 0;
}

static int bitmap_vcpu_prepare(struct vcpu *vcpu, ftd_error *error)
{
	(void)vcpu;
	(void)error;
	return 0;
}

/* Slot 0 is low memory, slot 1 the rest; LOW_PAGES is a multiple of 64, so both start on a word. */
static int read_bitmap(struct ftd_vm *vm)
{
	for (uint32_t slot = 0; slot <= (vm->pages > LOW_PAGES); slot++) {
		struct kvm_dirty_log log = { .slot = slot };

		log.dirty_bitmap = vm->kernel_bitmap + (slot ? LOW_PAGES / 64 : 0);
		if (ioctl(vm->fd, KVM_GET_DIRTY_LOG, &log) < 0)
			return -errno;
	}
	return 0;
}

/* Pages [first, end) of the image, one slot only; `first` on a word, `end` on a word or the slot's end. */
static int clear_range(struct ftd_vm *vm, const uint64_t *bitmap, uint64_t first, uint64_t end)
{
	bool high = first >= LOW_PAGES;
	uint64_t base = high ? LOW_PAGES : 0;
	struct kvm_clear_dirty_log clear = {
		.slot = high, .num_pages = (uint32_t)(end - first), .first_page = first - base,
	};

	clear.dirty_bitmap = (void *)(uintptr_t)(bitmap + first / 64);
	return ioctl(vm->fd, KVM_CLEAR_DIRTY_LOG, &clear) < 0 ? -errno : 0;
}

static uint64_t slot_end(const struct ftd_vm *vm, uint64_t page)
{
	return page < LOW_PAGES ? min_u64(vm->pages, LOW_PAGES) : vm->pages;
}

static int bitmap_harvest(struct ftd_vm *vm, struct page_list *list)
{
	uint64_t words = vm->kernel_bitmap_bytes / 8;
	int error = read_bitmap(vm);

	if (error)
		return error;
	for (uint64_t i = 0; i < words; i++) {
		uint64_t word = vm->kernel_bitmap[i];

		while (word) {
			page_list_add(list, i * 64 + (unsigned int)__builtin_ctzll(word));
			word &= word - 1;
		}
	}
	return 0;
}

/* `pages` ascend, as harvest gave them. */
static int bitmap_rearm(struct ftd_vm *vm, const uint64_t *pages, uint32_t page_count)
{
	uint64_t *scratch = vm->kernel_bitmap + vm->kernel_bitmap_bytes / 8;
	int error = 0;

	for (uint32_t i = 0; i < page_count && !error;) {
		uint64_t first = pages[i] & ~63ull, limit = slot_end(vm, first), last = first;
		uint32_t j = i;

		for (; j < page_count && pages[j] < limit && pages[j] - last <= CLEAR_GAP_PAGES; j++) {
			last = pages[j];
			scratch[last / 64] |= 1ull << (last % 64);
		}
		error = clear_range(vm, scratch, first, min_u64((last | 63) + 1, limit));
		for (uint32_t k = i; k < j; k++)
			scratch[pages[k] / 64] = 0;
		i = j;
	}
	return error;
}

static int bitmap_collect(struct ftd_vm *vm, struct sync_bitmap *bitmap)
{
	uint64_t words = vm->kernel_bitmap_bytes / 8;
	int error = read_bitmap(vm);

	if (error)
		return error;
	for (uint64_t i = 0; i < words; i++)
		if (vm->kernel_bitmap[i])
			sync_mark(bitmap, i, vm->kernel_bitmap[i]);
	/* The bitmap just read is the set to clear; the pages are copied after this, or harvested again. */
	error = clear_range(vm, vm->kernel_bitmap, 0, slot_end(vm, 0));
	if (!error && vm->pages > LOW_PAGES)
		error = clear_range(vm, vm->kernel_bitmap, LOW_PAGES, vm->pages);
	return error;
}

static int bitmap_begin(struct ftd_vm *vm, const struct tracker_limits *limits)
{
	(void)limits;
	return vm_set_slots(vm, true);	/* makes a new, clean bitmap */
}

static int bitmap_end(struct ftd_vm *vm)
{
	return vm_set_slots(vm, false);
}

static void bitmap_release(struct ftd_vm *vm)
{
	release_pages(vm->kernel_bitmap, 2 * vm->kernel_bitmap_bytes);
}

const struct tracker tracker_bitmap = {
	.name = "bitmap", .page_rearm = true,
	.offered = bitmap_offered, .prepare = bitmap_prepare, .vcpu_prepare = bitmap_vcpu_prepare,
	.begin = bitmap_begin, .harvest = bitmap_harvest, .rearm = bitmap_rearm, .collect = bitmap_collect,
	.end = bitmap_end, .release = bitmap_release,
};
