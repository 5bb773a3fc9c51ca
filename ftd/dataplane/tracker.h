/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How dirty pages are learnt: one contract, one file each. All functions run
 * while every vCPU is out of KVM_RUN; none allocates.
 */
#ifndef FTD_TRACKER_H
#define FTD_TRACKER_H

#include "base.h"

struct ftd_vm;
struct vcpu;

/* Page indices (not frame numbers), unsorted, possibly repeated. */
struct page_list {
	uint64_t *pages;
	uint32_t count, max;
	bool overflow;	/* there were more than max: the list is useless */
};

static inline void page_list_add(struct page_list *list, uint64_t page)
{
	if (list->count < list->max)
		list->pages[list->count++] = page;
	else
		list->overflow = true;
}

/* Pages that the first synchronisation has yet to send. Set by the leader, cleared by the sender. */
struct sync_bitmap {
	_Atomic uint64_t *words;
	_Atomic uint64_t pending;	/* set bits, and pages taken but not sent yet */
};

static inline void sync_mark(struct sync_bitmap *bitmap, uint64_t word, uint64_t bits)
{
	uint64_t before = atomic_fetch_or(&bitmap->words[word], bits);

	atomic_fetch_add(&bitmap->pending, (uint64_t)__builtin_popcountll(bits & ~before));
}

struct tracker {
	const char *name;
	/*
	 * Can leave single pages writable: then harvest reports a page that was
	 * not re-armed again each time, and rearm takes just the pages given.
	 */
	bool page_rearm;
	/* Before the first vCPU exists; 0 or -1 with *error. */
	int (*prepare)(struct ftd_vm *vm, ftd_error *error);
	int (*vcpu_prepare)(struct vcpu *vcpu, ftd_error *error);
	/* Memory logging was just switched on: forget what was learnt before. 0 or -errno. */
	int (*begin)(struct ftd_vm *vm);
	/* 0 or -errno. Every page written since it was last re-armed is in the list. */
	int (*harvest)(struct ftd_vm *vm, struct page_list *list);
	/* After a page was copied, and only then. Trackers without page_rearm re-arm all that was harvested. */
	int (*rearm)(struct ftd_vm *vm, const uint64_t *pages, uint32_t count);
	/* harvest and rearm in one, into a bitmap: for the first synchronisation, where nothing is copied yet. */
	int (*collect)(struct ftd_vm *vm, struct sync_bitmap *bitmap);
	void (*release)(struct ftd_vm *vm);
};

extern const struct tracker tracker_ring, tracker_bitmap;
const struct tracker *tracker_by_id(uint32_t id);	/* NULL: unknown */

#endif
