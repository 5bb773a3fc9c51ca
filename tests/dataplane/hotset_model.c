/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The hot set against a model of the tracker: a page is reported from its
 * first write after a re-arm until it is re-armed. After every epoch the
 * standby must hold what the guest holds, whatever the guest writes.
 */
#include "check.h"
#include "hotset.h"

#define PAGES 48u
#define EPOCHS 6000u

struct world {
	char (*guest)[FTD_PAGE_SIZE], (*standby)[FTD_PAGE_SIZE];
	bool reported[PAGES];
	uint32_t heat[PAGES];	/* written in one of so many epochs; 0: never */
	uint64_t shipped;
};

static void write_page(struct world *world, struct random *random, uint32_t page)
{
	uint64_t *word = (uint64_t *)(void *)(world->guest[page] + 8 * random_below(random, FTD_PAGE_SIZE / 8));

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

static void checkpoint(struct world *world, struct hotset *set, uint32_t epoch, ftd_counters *counters)
{
	for (uint32_t page = 0; page < PAGES; page++) {
		struct hot_verdict verdict;

		if (!world->reported[page])
			continue;
		verdict = hotset_judge(set, page, world->guest[page], epoch, counters);
		if (verdict.ship) {
			memcpy(world->standby[page], world->guest[page], FTD_PAGE_SIZE);
			world->shipped++;
		}
		if (verdict.rearm)
			world->reported[page] = false;
	}
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
		checkpoint(&world, &set, first + epoch, counters);
		CHECK(counters->hot_pages <= max, "%lu hot pages of %u", counters->hot_pages, max);
	}
	CHECK(world.shipped > EPOCHS, "the guest wrote next to nothing");
	if (max) {
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
