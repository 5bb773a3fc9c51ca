/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The `mt` tracker against a model of the kernel's side: whatever is re-armed
 * and whatever is left, every page that was written since it was last re-armed
 * is in each harvest, once; and KVM watches just the others.
 */
#include <fcntl.h>

#include "check.h"
#include "mt_kernel.h"
#include "vm.h"

#define EPOCHS 400u

struct world {
	struct ftd_vm *vm;
	struct tracker_limits limits;
	bool open[MT_PAGES];		/* written, and not re-armed since */
	struct page_list harvest, rearm;
};

bool vcpu_is_self(void)
{
	return true;
}

static uint32_t count_open(const struct world *world)
{
	uint32_t n = 0;

	for (uint32_t i = 0; i < MT_PAGES; i++)
		n += world->open[i];
	return n;
}

static void write_page(struct world *world, uint32_t number)
{
	mt_kernel_write(number);
	world->open[number] = true;
}

/* Up to the threshold, and a page more for each vCPU: then KVM lets none of them in. */
static void run_guest(struct world *world, struct random *random)
{
	uint32_t stop_at = mt_kernel.threshold + random_below(random, world->vm->vcpu_count + 1);
	uint32_t writes = random_below(random, random_one_in(random, 8) ? 20000 : 60);
	uint32_t from = random_below(random, MT_PAGES);
	uint32_t width = 1 + random_below(random, random_one_in(random, 4) ? MT_PAGES : 40);

	for (uint32_t i = 0; i < writes && mt_kernel.count < stop_at; i++)
		write_page(world, (from + random_below(random, width)) % MT_PAGES);
}

static void check_harvest(struct world *world)
{
	static bool seen[MT_PAGES];
	struct tracker_limits *limits = &world->limits;

	memset(seen, 0, sizeof(seen));
	world->harvest.count = 0;
	world->harvest.overflow = false;
	CHECK(tracker_mt.harvest(world->vm, &world->harvest) == 0, "harvest");
	CHECK(!world->harvest.overflow && world->harvest.count <= limits->epoch, "%u pages", world->harvest.count);
	for (uint32_t i = 0; i < world->harvest.count; i++) {
		uint32_t number = mt_number(world->harvest.pages[i]);

		CHECK(!seen[number], "page %u is reported twice", number);
		CHECK(world->open[number], "page %u was not written", number);
		seen[number] = true;
	}
	CHECK(count_open(world) == world->harvest.count, "%u pages were written, %u reported", count_open(world),
	      world->harvest.count);
}

/* All of them, or some and never more left than the hot set may have. */
static void choose_rearm(struct world *world, struct random *random)
{
	uint32_t left = 0, share = random_below(random, 4);

	world->rearm.count = 0;
	for (uint32_t i = 0; i < world->harvest.count; i++) {
		if (left < world->limits.unarmed && share && random_below(random, 4) < share) {
			left++;
			continue;
		}
		page_list_add(&world->rearm, world->harvest.pages[i]);
		world->open[mt_number(world->harvest.pages[i])] = false;
	}
}

static void check_rearm(struct world *world)
{
	uint32_t calls = mt_kernel.rearms;

	CHECK(tracker_mt.rearm(world->vm, world->rearm.pages, world->rearm.count) == 0, "rearm");
	calls = mt_kernel.rearms - calls;
	CHECK(world->vm->vcpu_count > 1 || calls == (world->rearm.count > 0), "%u calls", calls);
	for (uint32_t i = 0; i < MT_PAGES; i++)
		CHECK(mt_kernel.tracked[i] == world->open[i], "page %u is %s", i, world->open[i] ? "armed" : "not armed");
}

static void check_limits(const struct world *world)
{
	uint32_t vcpus = world->vm->vcpu_count, most = mt_kernel.threshold + vcpus;

	CHECK(mt_kernel.threshold > 0 && most <= world->limits.arena, "threshold %u", mt_kernel.threshold);
	CHECK(most + world->limits.unarmed <= world->limits.epoch, "threshold %u", mt_kernel.threshold);
	CHECK(mt_kernel.max >= mt_kernel.threshold + vcpus * OVERSHOOT_PAGES, "a list of %u", mt_kernel.max);
}

static void begin(struct world *world)
{
	CHECK(tracker_mt.begin(world->vm, &world->limits) == 0, "begin");
	memset(world->open, 0, sizeof(world->open));
}

static void check_sync(struct world *world, struct random *random)
{
	struct sync_bitmap bitmap = { .words = calloc((world->vm->pages + 63) / 64, sizeof(uint64_t)) };

	CHECK(bitmap.words, "no memory");
	for (int round = 0; round < 5; round++) {
		run_guest(world, random);
		CHECK(tracker_mt.collect(world->vm, &bitmap) == 0, "collect");
		for (uint32_t i = 0; i < MT_PAGES; i++) {
			uint64_t page = mt_page(i);

			CHECK(!world->open[i] || bitmap.words[page / 64] >> page % 64 & 1, "page %u was overlooked", i);
			CHECK(!mt_kernel.tracked[i], "page %u is not armed", i);
		}
		memset(world->open, 0, sizeof(world->open));
	}
	free(bitmap.words);
}

static void check_ended(struct world *world)
{
	int fd = mt_kernel.fd;

	CHECK(tracker_mt.end(world->vm) == 0, "end");
	CHECK(!mt_kernel.enabled && fcntl(fd, F_GETFD) < 0, "the fd is still open");
	CHECK(tracker_mt.end(world->vm) == 0, "a second end");
}

static void check_cycle(struct world *world, struct random *random)
{
	begin(world);
	check_limits(world);
	check_sync(world, random);
	for (uint32_t epoch = 0; epoch < EPOCHS; epoch++) {
		run_guest(world, random);
		check_harvest(world);
		if (random_one_in(random, 50))
			check_harvest(world);	/* the first came to nothing: no page of it may be forgotten */
		choose_rearm(world, random);
		check_rearm(world);
	}
	check_ended(world);
}

/* ---- what must not pass for a harvest ---- */

static void check_overflow(struct world *world)
{
	begin(world);
	for (uint32_t i = 0; i <= mt_kernel.max; i++)
		write_page(world, i);
	CHECK(tracker_mt.harvest(world->vm, &world->harvest) == -EOVERFLOW, "an overflow is not seen");
	check_ended(world);
}

static void check_unfinished_entry(struct world *world)
{
	begin(world);
	mt_kernel.leave_invalid = true;
	write_page(world, 7);
	CHECK(tracker_mt.harvest(world->vm, &world->harvest) == -EIO, "an entry that is not there is taken");
	check_ended(world);
}

static void check_broken_order(struct world *world)
{
	uint64_t swapped[2];

	begin(world);
	write_page(world, 3);
	write_page(world, 5);
	check_harvest(world);
	swapped[0] = world->harvest.pages[1];
	swapped[1] = world->harvest.pages[0];
	CHECK(tracker_mt.rearm(world->vm, swapped, 2) == -EINVAL, "pages out of order are taken");
	check_ended(world);
}

static void check_failing_calls(struct world *world)
{
	for (uint32_t at = 1; at <= 3; at++) {
		mt_kernel.fail_at = at;
		CHECK(tracker_mt.begin(world->vm, &world->limits) == -ENOMEM, "call %u fails unseen", at);
		check_ended(world);
	}
	begin(world);
	write_page(world, 3);
	mt_kernel.fail_at = 1;
	CHECK(tracker_mt.harvest(world->vm, &world->harvest) == -ENOMEM, "a seal fails unseen");
	check_harvest(world);
	mt_kernel.fail_at = 1;
	CHECK(tracker_mt.rearm(world->vm, world->harvest.pages, 1) == -ENOMEM, "a re-arm fails unseen");
	check_ended(world);
}

static void check_vm(uint32_t vcpus, struct tracker_limits limits, struct random *random)
{
	struct world world = { .vm = calloc(1, sizeof(*world.vm)), .limits = limits };
	ftd_error error;

	CHECK(world.vm, "no memory");
	world.harvest.max = world.rearm.max = MT_PAGES;
	world.harvest.pages = calloc(MT_PAGES, sizeof(uint64_t));
	world.rearm.pages = calloc(MT_PAGES, sizeof(uint64_t));
	world.vm->fd = MT_VM_FD;
	world.vm->pages = mt_page(MT_PAGES);
	world.vm->vcpu_count = vcpus;
	CHECK(tracker_mt.prepare(world.vm, &error) == 0, "%s", error.text);
	check_cycle(&world, random);
	check_cycle(&world, random);
	if (mt_kernel.max < MT_PAGES)
		check_overflow(&world);
	check_unfinished_entry(&world);
	check_broken_order(&world);
	check_failing_calls(&world);
	tracker_mt.release(world.vm);
	tracker_mt.release(world.vm);
	free(world.harvest.pages);
	free(world.rearm.pages);
	free(world.vm);
}

int main(int argc, char **argv)
{
	struct random random = { argument_or(argc, argv, 1, 1) };

	check_vm(1, (struct tracker_limits){ .arena = 64, .epoch = 64, .unarmed = 32 }, &random);
	check_vm(1, (struct tracker_limits){ .arena = 64, .epoch = 256, .unarmed = 0 }, &random);
	check_vm(2, (struct tracker_limits){ .arena = 1024, .epoch = 4096, .unarmed = 2048 }, &random);
	check_vm(4, (struct tracker_limits){ .arena = 4096, .epoch = 16384, .unarmed = 1024 }, &random);
	check_vm(8, (struct tracker_limits){ .arena = 64, .epoch = 64, .unarmed = 32 }, &random);
	return 0;
}
