// SPDX-License-Identifier: GPL-2.0-only
/* Mainline's dirty ring and bitmap, each as quick as its interface allows. */
#include <linux/kvm.h>

#include "sys.h"
#include "trackers.h"

static void list(struct harvest *harvest, uint64_t gfn)
{
	if (harvest->count == LIST_MAX)
		die("listing dirty pages: more than %d", LIST_MAX);
	harvest->gfns[harvest->count++] = gfn;
}

void run_ring(struct tracker *tracker, struct harvest *harvest)
{
	for (unsigned int i = 0; i < tracker->vm->vcpu_count; i++) {
		uint32_t next = tracker->ring_next[i];

		for (;; next++) {
			struct kvm_dirty_gfn *entry = &tracker->rings[i][next % RING_ENTRIES];

			if (!(__atomic_load_n(&entry->flags, __ATOMIC_ACQUIRE) & KVM_DIRTY_GFN_F_DIRTY))
				break;
			list(harvest, tracker->vm->first_gfn + entry->offset);
			__atomic_store_n(&entry->flags, KVM_DIRTY_GFN_F_RESET, __ATOMIC_RELEASE);
		}
		tracker->ring_next[i] = next;
	}
	harvest->listed_ns = now_ns();
	checked_ioctl(tracker->vm->fd, KVM_RESET_DIRTY_RINGS, NULL, "KVM_RESET_DIRTY_RINGS");
}

static void get_dirty_log(struct tracker *tracker)
{
	struct kvm_dirty_log log = { .slot = 0, .dirty_bitmap = tracker->bitmap };

	checked_ioctl(tracker->vm->fd, KVM_GET_DIRTY_LOG, &log, "KVM_GET_DIRTY_LOG");
}

/* Returns the first word with a bit and sets *end behind the last one. */
static uint64_t list_bits(struct tracker *tracker, struct harvest *harvest, uint64_t *end)
{
	uint64_t words = (tracker->vm->pages + 63) / 64, first = words;

	*end = 0;
	for (uint64_t i = 0; i < words; i++) {
		uint64_t bits = tracker->bitmap[i];

		if (!bits)
			continue;
		if (first == words)
			first = i;
		*end = i + 1;
		for (; bits; bits &= bits - 1)
			list(harvest, tracker->vm->first_gfn + i * 64 + (uint64_t)__builtin_ctzll(bits));
	}
	return first;
}

void run_bitmap(struct tracker *tracker, struct harvest *harvest)
{
	uint64_t end;

	get_dirty_log(tracker);	/* arms them, too */
	list_bits(tracker, harvest, &end);
	harvest->listed_ns = now_ns();
}

void run_bitmap_manual(struct tracker *tracker, struct harvest *harvest)
{
	uint64_t first, end, last_page;

	get_dirty_log(tracker);
	first = list_bits(tracker, harvest, &end);
	harvest->listed_ns = now_ns();
	if (first >= end)
		return;
	last_page = end * 64 < tracker->vm->pages ? end * 64 : tracker->vm->pages;
	/* Only as much of the bitmap as has bits: the kernel copies and walks no more. */
	struct kvm_clear_dirty_log clear = {
		.slot = 0,
		.first_page = first * 64,
		.num_pages = (uint32_t)(last_page - first * 64),
		.dirty_bitmap = tracker->bitmap + first,
	};
	checked_ioctl(tracker->vm->fd, KVM_CLEAR_DIRTY_LOG, &clear, "KVM_CLEAR_DIRTY_LOG");
}
