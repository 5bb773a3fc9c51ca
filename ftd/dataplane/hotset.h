/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The hot set: pages that keep being written stay writable, so that the guest
 * pays no fault for them. Each epoch they are compared with
 * the copy that was sent last, and what differs is shipped: line by line, or
 * all of it where much does. A hot page that stays unchanged for a while is
 * re-armed and leaves the set.
 *
 * Only with trackers that re-arm page by page: such a tracker goes on
 * reporting a page that was not re-armed, so a hot page is in every harvest.
 *
 * Why nothing is lost: a hot page is writable, so every epoch looks at it; a
 * page that leaves the set is re-armed while all vCPUs stand and its contents
 * equal the copy that was sent, so a later write faults and is harvested. The
 * copy is always what the standby has once it has committed the epochs before:
 * whatever is shipped of a hot page, lines or all of it, goes into the copy.
 */
#ifndef FTD_HOTSET_H
#define FTD_HOTSET_H

#include "base.h"

/*
 * Hot is what was dirty in this many epochs with no longer gap between them
 * than the window. Not "in consecutive epochs": while every page of a guest's
 * round still faults, the round lasts longer than an epoch, and no page would
 * ever qualify.
 */
#define HOT_AFTER_EPOCHS 3
#define HOT_WINDOW_EPOCHS 32
#define HOT_COOL_EPOCHS 16
/* Of 64: a page that differs in more is copied, sent and applied as a whole, which is less work. */
#define HOT_LINES_MAX 32
#define HOT_PAGES_MAX (UINT16_MAX - 1)	/* a slot has 16 bits, and 0 is none */

struct hotset {
	uint32_t max, count;
	struct hot_page *pages;		/* one for each page of the guest */
	size_t pages_bytes;
	char *copies;			/* `max` pages: what was sent last */
	uint32_t *free_slots;
	uint32_t free_count;
};

/* What to do with a harvested page. `lines`: those of 64 bytes that are enough to ship; 0: all of it. */
struct hot_verdict {
	bool ship, rearm;
	uint64_t lines;
};

int hotset_open(struct hotset *set, uint64_t guest_pages, uint32_t max);	/* 0 or -1; max 0 is a set that does nothing */
void hotset_close(struct hotset *set);
/* `contents` is the page in guest memory, while all vCPUs stand; `epoch` counts up by one. */
struct hot_verdict hotset_judge(struct hotset *set, uint64_t page, const char *contents, uint32_t epoch,
				ftd_counters *counters);
/* All of the page is shipped, unjudged. */
void hotset_shipped(struct hotset *set, uint64_t page, const char *contents);

#endif
