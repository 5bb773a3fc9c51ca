/* SPDX-License-Identifier: Apache-2.0 */
/* How far checkpoints are put apart for vCPUs that wait for a processor. */
#include "check.h"
#include "pace.h"

#define WINDOW 120u
#define ENOUGH_WINDOWS 100

static void check_starving(void)
{
	uint32_t stretch = PACE_ONE;

	for (int i = 0; i < ENOUGH_WINDOWS; i++) {
		uint32_t next = pace_next(stretch, WINDOW / 3 + 1, WINDOW);

		CHECK(next > stretch || next == PACE_STRETCH_MAX, "%u became %u", stretch, next);
		stretch = next;
	}
	CHECK(stretch == PACE_STRETCH_MAX, "it ends at %u", stretch);
}

static void check_recovering(void)
{
	uint32_t stretch = PACE_STRETCH_MAX;

	for (int i = 0; i < ENOUGH_WINDOWS; i++) {
		uint32_t next = pace_next(stretch, WINDOW / 6 - 1, WINDOW);

		CHECK(next < stretch || next == PACE_ONE, "%u became %u", stretch, next);
		CHECK(next >= PACE_ONE, "%u became %u", stretch, next);
		stretch = next;
	}
	CHECK(stretch == PACE_ONE, "it ends at %u", stretch);
}

static void check_between(struct random *random)
{
	for (int i = 0; i < 1000; i++) {
		uint32_t stretch = PACE_ONE + random_below(random, PACE_STRETCH_MAX - PACE_ONE + 1);
		uint32_t waited = WINDOW / 6 + random_below(random, WINDOW / 6 + 1);

		CHECK(pace_next(stretch, waited, WINDOW) == stretch, "%u, waited %u of %u", stretch, waited, WINDOW);
	}
	/* A sum over several slices may end beyond the window that it is counted in. */
	CHECK(pace_next(PACE_ONE, 3 * WINDOW, WINDOW) > PACE_ONE, "waited longer than there was time");
	CHECK(pace_next(PACE_ONE, 0, 0) == PACE_ONE, "no time");
}

static void check_period(void)
{
	uint64_t fast = 400000, slow = 2 * PACE_PERIOD_MAX_NS;

	CHECK(pace_stretched(PACE_ONE, fast) == fast, "unstretched");
	CHECK(pace_stretched(2 * PACE_ONE, fast) == 2 * fast, "twice as long");
	CHECK(pace_stretched(PACE_STRETCH_MAX, 10 * FTD_MS) == PACE_PERIOD_MAX_NS, "no further than that");
	CHECK(pace_stretched(PACE_STRETCH_MAX, slow) == slow, "never shorter than asked for");
}

int main(int argc, char **argv)
{
	struct random random = { argument_or(argc, argv, 1, 1) };

	check_starving();
	check_recovering();
	check_between(&random);
	check_period();
	return 0;
}
