/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The hot set against a model of the tracker: a page is reported from its
 * first write after a re-arm until it is re-armed. After every epoch the
 * standby must hold what the guest holds, whatever the guest writes.
 */
#include "check.h"
#include "frame.h"
#include "hotset.h"

#define PAGES 48u
#define EPOCHS 6000u

struct world {
	char (*guest)[FTD_PAGE_SIZE], (*standby)[FTD_PAGE_SIZE];
	bool reported[PAGES];
	uint32_t heat[PAGES];	/* written in one of so many epochs; 0: never */
	uint64_t shipped, deltas;
};

static void write_page(struct world *world, struct random *random, uint32_t page)
{
	/* Few places, in several lines: what they hold comes back. */
	uint64_t *word = (uint64_t *)(void *)(world->guest[page] + 40 * random_below(random, 48));

	world->reported[page] = true;
	/* Also writes that change nothing, and values that come back. */
	if (!random_one_in(random, 4))
		*word = random_below(random, 3);
}

static void run_guest(struct world *world, struct random *random)
{
	for (uint32_t page = 0; page < PAGES; page++) {
		if (random_one_in(random, 200))
			world->heat[page] = random_below(random, 5) * random_below(random, 12);
		if (world->heat[page] && random_one_in(random, world->heat[page]))
			write_page(world, random, page);
	}
}

static void ship(struct world *world, uint32_t page, uint64_t lines)
{
	world->deltas += lines != 0;
	CHECK((uint32_t)__builtin_popcountll(lines) <= HOT_LINES_MAX, "%#lx are too many lines", lines);
	for (uint32_t line = 0; line < FTD_PAGE_SIZE / LINE_BYTES; line++)
		if (!lines || lines >> line & 1)
			memcpy(world->standby[page] + line * LINE_BYTES, world->guest[page] + line * LINE_BYTES, LINE_BYTES);
}

/* What the device model wrote goes as it is, hot or not; no tracker reports it. */
static void write_as_device(struct world *world, struct hotset *set, struct random *random)
{
	uint32_t page = random_below(random, PAGES);
	bool reported = world->reported[page];

	write_page(world, random, page);
	world->reported[page] = reported;
	hotset_shipped(set, page, world->guest[page]);
	ship(world, page, 0);
}

static void checkpoint(struct world *world, struct hotset *set, struct random *random, uint32_t epoch,
		       ftd_counters *counters)
{
	for (uint32_t page = 0; page < PAGES; page++) {
		struct hot_verdict verdict;

		if (!world->reported[page])
			continue;
		verdict = hotset_judge(set, page, world->guest[page], epoch, counters);
		if (verdict.ship) {
			ship(world, page, verdict.lines);
			world->shipped++;
		}
		if (verdict.rearm)
			world->reported[page] = false;
	}
	write_as_device(world, set, random);
	for (uint32_t page = 0; page < PAGES; page++)
		CHECK(memcmp(world->guest[page], world->standby[page], FTD_PAGE_SIZE) == 0, "epoch %u lost page %u", epoch,
		      page);
}

static void check_size(uint32_t max, struct random *random)
{
	struct world world = { .guest = calloc(PAGES, FTD_PAGE_SIZE), .standby = calloc(PAGES, FTD_PAGE_SIZE) };
	ftd_counters *counters = calloc(1, sizeof(*counters));
	uint32_t first = (uint32_t)random_u64(random);	/* epochs are counted in 32 bits: they may wrap */
	struct hotset set;

	CHECK(world.guest && world.standby && counters && hotset_open(&set, PAGES, max) == 0, "no memory");
	for (uint32_t epoch = 0; epoch < EPOCHS; epoch++) {
		run_guest(&world, random);
		checkpoint(&world, &set, random, first + epoch, counters);
		CHECK(counters->hot_pages <= max, "%lu hot pages of %u", counters->hot_pages, max);
	}
	CHECK(world.shipped > EPOCHS, "the guest wrote next to nothing");
	if (max) {
		CHECK(world.deltas, "no page went as lines");
		CHECK(counters->hot_shipped && counters->hot_unchanged && counters->hot_cooled, "no page became hot");
	} else {
		CHECK(!counters->hot_pages && !counters->hot_shipped, "a set of none has pages");
	}
	hotset_close(&set);
	free(world.guest);
	free(world.standby);
	free(counters);
}

int main(int argc, char **argv)
{
	struct random random = { argument_or(argc, argv, 1, 1) };
	const uint32_t sizes[] = { 0, 1, 2, 7, PAGES / 2, PAGES, 2 * PAGES };

	for (size_t i = 0; i < ARRAY_SIZE(sizes); i++)
		check_size(sizes[i], &random);
	return 0;
}
