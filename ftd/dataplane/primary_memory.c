/* SPDX-License-Identifier: Apache-2.0 */
/* What the cycle of a pair works in. All of it is allocated before the first synchronisation begins. */
#include "disk_sync.h"
#include "primary.h"

static int make_list(struct page_list *list, uint32_t max)
{
	list->pages = reserve_pages(max * sizeof(*list->pages));
	list->max = max;
	return list->pages ? 0 : -1;
}

static uint32_t list_max(const struct ftd_primary *primary)
{
	const struct ftd_vm *vm = primary->vm;
	const struct tracker_limits *limits = &primary->limits;

	/* Un-armed pages are reported beside those written anew, also when they need not be sent. */
	return (uint32_t)max_u64(limits->epoch, vm->ring_entries * vm->vcpu_count) + limits->unarmed +
	       OVERSHOOT_PAGES * vm->vcpu_count + DEVICE_MARKS_MAX;
}

/*
 * A hot set may fill half of an epoch at most: the threshold of `mt` leaves
 * room for all of it, and must leave the guest some pages too.
 */
struct tracker_limits primary_limits(const struct ftd_primary *primary)
{
	uint32_t epoch = primary->link.epoch_pages_max * primary->link.parts_max;
	uint32_t hot = (uint32_t)min_u64(min_u64(primary->cycle.hot_pages_max, HOT_PAGES_MAX), epoch / 2);

	return (struct tracker_limits){ .arena = primary->link.epoch_pages_max, .epoch = epoch,
					.unarmed = primary->vm->tracker->page_rearm ? hot : 0 };
}

static uint32_t state_room(const struct ftd_primary *primary)
{
	return primary->cycle.period_ns ? state_length(primary->vm) : STATE_MAX_BYTES;
}

static int make_arenas(struct ftd_primary *primary)
{
	for (uint32_t i = 0; i < primary->cycle.epochs_in_flight; i++) {
		struct arena *arena = &primary->arenas[i];

		arena->state = reserve_pages(state_room(primary));
		arena->list = reserve_pages(primary->link.epoch_pages_max * sizeof(*arena->list));
		arena->pages = reserve_pages(primary->link.epoch_pages_max * FTD_PAGE_SIZE);
		if (!arena->state || !arena->list || !arena->pages)
			return -1;
		if (primary->vm->disk && disk_log_open(&arena->disk, primary->link.epoch_disk_bytes) < 0)
			return -1;
	}
	return 0;
}

int primary_allocate(struct ftd_primary *primary, ftd_error *error)
{
	struct ftd_vm *vm = primary->vm;
	uint32_t max = list_max(primary);

	primary->sync_bytes = (vm->pages + 63) / 64 * 8;
	primary->sync.words = reserve_pages(primary->sync_bytes);
	primary->batch = reserve_pages(sizeof(struct frame_header) + (size_t)SYNC_BATCH_PAGES * (8 + FTD_PAGE_SIZE));
	primary->ship_lines = reserve_pages(max * sizeof(uint64_t));
	primary->offsets = reserve_pages(primary->link.epoch_pages_max * sizeof(uint32_t));
	if (!primary->sync.words || !primary->batch || !primary->ship_lines || !primary->offsets ||
	    make_list(&primary->harvested, max) < 0 || make_list(&primary->ship, max) < 0 ||
	    make_list(&primary->rearm, max) < 0 || make_arenas(primary) < 0 ||
	    hotset_open(&primary->hot, vm->pages, primary->limits.unarmed) < 0 || disk_sync_open(primary) < 0)
		return ftd_fail(error, ENOMEM, "no memory for %u arenas of %u pages", primary->cycle.epochs_in_flight,
				primary->link.epoch_pages_max);
	return 0;
}

void primary_release(struct ftd_primary *primary)
{
	uint32_t max = list_max(primary);

	for (uint32_t i = 0; i < primary->cycle.epochs_in_flight; i++) {
		struct arena *arena = &primary->arenas[i];

		release_pages(arena->state, state_room(primary));
		release_pages(arena->list, primary->link.epoch_pages_max * sizeof(*arena->list));
		release_pages(arena->pages, primary->link.epoch_pages_max * FTD_PAGE_SIZE);
		disk_log_close(&arena->disk);
	}
	release_pages(primary->harvested.pages, max * sizeof(uint64_t));
	release_pages(primary->ship.pages, max * sizeof(uint64_t));
	release_pages(primary->ship_lines, max * sizeof(uint64_t));
	release_pages(primary->offsets, primary->link.epoch_pages_max * sizeof(uint32_t));
	release_pages(primary->rearm.pages, max * sizeof(uint64_t));
	release_pages(primary->sync.words, primary->sync_bytes);
	release_pages(primary->batch, sizeof(struct frame_header) + (size_t)SYNC_BATCH_PAGES * (8 + FTD_PAGE_SIZE));
	hotset_close(&primary->hot);
}
