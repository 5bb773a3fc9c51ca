/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How dirty pages are learnt: one contract, one file each. All functions run
 * while every vCPU is out of KVM_RUN. Between begin and end none allocates.
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

/*
 * What KVM may report of one vCPU past a threshold, at most: a page-modification
 * log of 512 entries that is flushed at the exit, and what KVM itself writes.
 */
#define OVERSHOOT_PAGES 576u

/* In pages; fixed when protection begins. */
struct tracker_limits {
	uint32_t arena;		/* what one part of an epoch holds */
	uint32_t epoch;		/* what all its parts hold */
	uint32_t unarmed;	/* most pages that are ever left un-armed: the hot set */
};

struct tracker {
	const char *name;
	/*
	 * Can leave single pages writable: then harvest reports a page that was
	 * not re-armed again each time, and rearm takes just the pages given.
	 */
	bool page_rearm;
	/* KVM_CHECK_EXTENSION: whether this fd's KVM (/dev/kvm, or a VM) has it. */
	bool (*offered)(int kvm_fd);
	/* Before the first vCPU exists; 0 or -1 with *error. */
	int (*prepare)(struct ftd_vm *vm, ftd_error *error);
	int (*vcpu_prepare)(struct vcpu *vcpu, ftd_error *error);
	/* From here on KVM logs what is written; what was learnt before is forgotten. 0 or -errno; then end follows. */
	int (*begin)(struct ftd_vm *vm, const struct tracker_limits *limits);
	/* 0 or -errno; -EOVERFLOW: KVM lost track. Every page written since it was last re-armed is in the list. */
	int (*harvest)(struct ftd_vm *vm, struct page_list *list);
	/*
	 * After a page was copied, and only then. `pages` are some of those that
	 * harvest gave, in its order. Trackers without page_rearm re-arm all of them.
	 */
	int (*rearm)(struct ftd_vm *vm, const uint64_t *pages, uint32_t count);
	/* harvest and rearm in one, into a bitmap: for the first synchronisation, where nothing is copied yet. */
	int (*collect)(struct ftd_vm *vm, struct sync_bitmap *bitmap);
	/* KVM logs no more. Any number of times. 0 or -errno. */
	int (*end)(struct ftd_vm *vm);
	/* Frees what prepare made, also half of it. */
	void (*release)(struct ftd_vm *vm);
};

extern const struct tracker tracker_ring, tracker_bitmap, tracker_mt;
const struct tracker *tracker_by_id(uint32_t id);	/* NULL: unknown */

#endif
