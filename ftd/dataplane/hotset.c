/* SPDX-License-Identifier: Apache-2.0 */
#include "hotset.h"

#include "frame.h"

struct hot_page {
	uint32_t epoch;		/* last epoch in which it was harvested */
	uint16_t slot;		/* 1 + index of its copy; 0: not hot */
	uint8_t streak;		/* epochs in which it was dirty, without a gap, up to HOT_AFTER_EPOCHS */
	uint8_t unchanged;	/* epochs running in which it was hot for nothing */
};

int hotset_open(struct hotset *set, uint64_t guest_pages, uint32_t max)
{
	memset(set, 0, sizeof(*set));
	if (!max)
		return 0;
	set->max = max < HOT_PAGES_MAX ? max : HOT_PAGES_MAX;
	set->pages_bytes = guest_pages * sizeof(struct hot_page);
	set->pages = reserve_pages(set->pages_bytes);
	set->copies = reserve_pages(set->max * FTD_PAGE_SIZE);
	set->free_slots = reserve_pages(set->max * sizeof(uint32_t));
	if (!set->pages || !set->copies || !set->free_slots) {
		hotset_close(set);
		return -1;
	}
	for (uint32_t i = 0; i < set->max; i++)
		set->free_slots[set->free_count++] = set->max - 1 - i;
	return 0;
}

void hotset_close(struct hotset *set)
{
	release_pages(set->pages, set->pages_bytes);
	release_pages(set->copies, set->max * FTD_PAGE_SIZE);
	release_pages(set->free_slots, set->max * sizeof(uint32_t));
	memset(set, 0, sizeof(*set));
}

static uint64_t word_at(const char *bytes)
{
	uint64_t word;

	memcpy(&word, bytes, sizeof(word));
	return word;
}

static char *copy_of(struct hotset *set, const struct hot_page *hot)
{
	return set->copies + (size_t)(hot->slot - 1) * FTD_PAGE_SIZE;
}

static bool line_differs(const char *one, const char *other)
{
	uint64_t difference = 0;

	for (uint32_t at = 0; at < LINE_BYTES; at += sizeof(difference))
		difference |= word_at(one + at) ^ word_at(other + at);
	return difference;
}

/* Which lines the copy lacked. It has them after this. */
static uint64_t update_copy(char *copy, const char *contents)
{
	uint64_t changed = 0;

	for (uint32_t line = 0; line < FTD_PAGE_SIZE / LINE_BYTES; line++) {
		if (!line_differs(copy + line * LINE_BYTES, contents + line * LINE_BYTES))
			continue;
		memcpy(copy + line * LINE_BYTES, contents + line * LINE_BYTES, LINE_BYTES);
		changed |= 1ull << line;
	}
	return changed;
}

static struct hot_verdict judge_hot(struct hotset *set, struct hot_page *hot, const char *contents,
				    ftd_counters *counters)
{
	uint64_t changed = update_copy(copy_of(set, hot), contents);

	if (changed) {
		hot->unchanged = 0;
		count(&counters->hot_shipped, 1);
		return (struct hot_verdict){
			.ship = true, .lines = __builtin_popcountll(changed) <= HOT_LINES_MAX ? changed : 0,
		};
	}
	count(&counters->hot_unchanged, 1);
	if (++hot->unchanged < HOT_COOL_EPOCHS)
		return (struct hot_verdict){ 0 };
	set->free_slots[set->free_count++] = hot->slot - 1u;
	hot->slot = 0;
	hot->streak = 0;
	count(&counters->hot_cooled, 1);
	count_set(&counters->hot_pages, set->max - set->free_count);
	return (struct hot_verdict){ .rearm = true };
}

struct hot_verdict hotset_judge(struct hotset *set, uint64_t page, const char *contents, uint32_t epoch,
				ftd_counters *counters)
{
	struct hot_page *hot;

	if (!set->max)
		return (struct hot_verdict){ .ship = true, .rearm = true };
	hot = &set->pages[page];
	if (hot->slot)
		return judge_hot(set, hot, contents, counters);
	if (epoch - hot->epoch > HOT_WINDOW_EPOCHS)
		hot->streak = 0;
	hot->streak++;
	hot->epoch = epoch;
	if (hot->streak < HOT_AFTER_EPOCHS || !set->free_count) {
		if (hot->streak == HOT_AFTER_EPOCHS)
			hot->streak--;	/* the set is full: stays a candidate */
		return (struct hot_verdict){ .ship = true, .rearm = true };
	}
	hot->slot = (uint16_t)(set->free_slots[--set->free_count] + 1);
	hot->unchanged = 0;
	memcpy(copy_of(set, hot), contents, FTD_PAGE_SIZE);
	count_set(&counters->hot_pages, set->max - set->free_count);
	return (struct hot_verdict){ .ship = true };
}

void hotset_shipped(struct hotset *set, uint64_t page, const char *contents)
{
	if (set->max && set->pages[page].slot)
		memcpy(copy_of(set, &set->pages[page]), contents, FTD_PAGE_SIZE);
}
