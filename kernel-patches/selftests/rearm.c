// SPDX-License-Identifier: GPL-2.0-only
/* Re-arming: by range, by frame number, twice, by several threads at once. */
#include "mt_list.h"

#define PAGES		800u
#define THREADS		4

static struct vm *vm;
static struct region *region;
static struct list written;
static int mt;

static void setup(void)
{
	vm = vm_create(1, 0);
	region = vm_region(vm, 1, TEST_GPA(0), PAGES, 0);
	mt = track(vm);
	list_add_pages(&written, region, 0, PAGES / 2, 2);
}

static void expect_all_again(void)
{
	struct list got, none = { 0 };

	got = harvest(mt);
	list_expect("pages not written since they were re-armed", &got, &none);
	write_pages(&vm->vcpus[0], &written, 99);
	got = harvest(mt);
	list_expect("pages written since they were re-armed", &got, &written);
}

static void by_ranges(void)
{
	struct kvm_mt_prepare prepare;
	struct kvm_mt_status status;
	struct list all;
	u32 done = 0;

	setup();
	write_pages(&vm->vcpus[0], &written, 1);
	all = seal(mt, 0, &prepare);
	for (u32 start = 0; start < all.n; start += 37) {
		u32 count = all.n - start < 37 ? all.n - start : 37;

		CHECK_EQ(mt_rearm(mt, prepare.epoch, start, count), count, "frames re-armed");
		done += count;
		CHECK_OK(mt_status(mt, &status));
		CHECK_EQ(status.rearmed, done, "re-armed entries in the status");
		CHECK_EQ(status.sealed, all.n, "sealed entries in the status");
	}
	expect_all_again();
}

static void twice(void)
{
	struct kvm_mt_prepare prepare;
	struct list all;

	setup();
	write_pages(&vm->vcpus[0], &written, 1);
	all = seal(mt, 0, &prepare);
	CHECK_EQ(mt_rearm(mt, prepare.epoch, 0, 50), 50, "frames re-armed");
	CHECK_EQ(mt_rearm(mt, prepare.epoch, 0, 50), 0, "frames re-armed by the same range again");
	CHECK_EQ(mt_rearm(mt, prepare.epoch, 25, 50), 25, "frames re-armed by an overlapping range");
	CHECK_EQ(mt_rearm(mt, prepare.epoch, 0, 0), 0, "frames re-armed by an empty range");
	CHECK_ERR(mt_prepare(mt, 0, NULL), EBUSY);
	CHECK_EQ(mt_rearm(mt, prepare.epoch, 0, all.n), all.n - 75, "frames re-armed by the whole range");
	expect_all_again();
}

/*
 * A frame that was re-armed and written again stands in the list being filled.
 * Re-arming the sealed list a second time must not take it from there.
 */
static void again_after_write(void)
{
	struct kvm_mt_prepare prepare;
	struct list all, got;

	setup();
	write_pages(&vm->vcpus[0], &written, 1);
	all = seal(mt, 0, &prepare);
	CHECK_EQ(mt_rearm(mt, prepare.epoch, 0, all.n), all.n, "frames re-armed");
	write_pages(&vm->vcpus[0], &written, 2);
	CHECK_EQ(mt_rearm(mt, prepare.epoch, 0, all.n), 0, "frames re-armed by the same range again");
	write_pages(&vm->vcpus[0], &written, 3);
	got = harvest(mt);
	list_expect("pages written between two re-arms of the older list", &got, &written);
}

struct share {
	u64 epoch;
	u32 count;
	u32 number;
	u32 done;
};

/* Every thread re-arms everything, a range at a time, from a place of its own. */
static void *rearm_all(void *argument)
{
	struct share *share = argument;
	u32 chunk = 16, chunks = (share->count + chunk - 1) / chunk;
	unsigned int seed = (uintptr_t)share >> 4;
	u32 first = (seed * 2654435761u) % chunks;

	for (u32 i = 0; i < chunks; i++) {
		u32 start = (first + i) % chunks * chunk;
		u32 count = share->count - start < chunk ? share->count - start : chunk;

		share->done += CHECK_OK(mt_rearm(mt, share->epoch, start, count));
	}
	return NULL;
}

static void by_threads(void)
{
	setup();
	for (int round = 0; round < 5; round++) {
		struct share shares[THREADS] = { 0 };
		struct kvm_mt_prepare prepare;
		pthread_t threads[THREADS];
		struct list all;
		u32 done = 0;

		write_pages(&vm->vcpus[0], &written, round);
		all = seal(mt, 0, &prepare);
		for (int i = 0; i < THREADS; i++) {
			shares[i] = (struct share){ .epoch = prepare.epoch, .count = all.n };
			CHECK(!pthread_create(&threads[i], NULL, rearm_all, &shares[i]), "no thread");
		}
		for (int i = 0; i < THREADS; i++) {
			pthread_join(threads[i], NULL);
			done += shares[i].done;
		}
		CHECK_EQ(done, all.n, "frames re-armed by all threads together");
		expect_all_again();
	}
}

static void *rearm_one_share(void *argument)
{
	struct share *share = argument;

	share->done = CHECK_OK(mt_rearm_share(mt, share->epoch, share->number, THREADS));
	return NULL;
}

/* One thread for each share; all of the list has to come out of it, once. */
static void rearm_by_shares(u64 epoch, u32 expected)
{
	struct share shares[THREADS];
	pthread_t threads[THREADS];
	u32 done = 0;

	for (u32 i = 0; i < THREADS; i++) {
		shares[i] = (struct share){ .epoch = epoch, .number = i };
		CHECK(!pthread_create(&threads[i], NULL, rearm_one_share, &shares[i]), "no thread");
	}
	for (int i = 0; i < THREADS; i++) {
		pthread_join(threads[i], NULL);
		done += shares[i].done;
	}
	CHECK_EQ(done, expected, "frames re-armed by all shares together");
	CHECK_EQ(mt_rearm_share(mt, epoch, 0, 1), 0, "frames left for the only share");
}

static void by_shares(void)
{
	struct kvm_mt_prepare prepare;
	struct list all;

	setup();
	for (int round = 0; round < 5; round++) {
		write_pages(&vm->vcpus[0], &written, round);
		all = seal(mt, 0, &prepare);
		rearm_by_shares(prepare.epoch, all.n);
		expect_all_again();
	}
	/* Fewer entries than shares. */
	CHECK_OK(mt_mark(mt, written.v, 2));
	CHECK_OK(mt_prepare(mt, 0, &prepare));
	rearm_by_shares(prepare.epoch, 2);
	CHECK_OK(mt_prepare(mt, 0, NULL));
}

static void while_sealing(void)
{
	struct kvm_mt_prepare prepare;
	struct kvm_mt_status status;
	struct list all, got;

	setup();
	write_pages(&vm->vcpus[0], &written, 1);
	all = seal(mt, KVM_MT_PREPARE_REARM, &prepare);
	got = list_user(&all);
	list_expect("pages of a list that was re-armed while it was sealed", &got, &written);
	CHECK_OK(mt_status(mt, &status));
	CHECK_EQ(status.rearmed, all.n, "re-armed entries in the status");
	CHECK_EQ(mt_rearm(mt, prepare.epoch, 0, all.n), 0, "frames left to re-arm");
	expect_all_again();
}

static void by_gfns(void)
{
	struct kvm_mt_prepare prepare;
	struct list user, all;

	setup();
	write_pages(&vm->vcpus[0], &written, 1);
	all = seal(mt, 0, &prepare);
	user = list_user(&all);
	list_shuffle(&user, mt_options.seed);
	CHECK_EQ(mt_rearm_gfns(mt, user.v, user.n), user.n, "frames re-armed by number");
	CHECK_EQ(mt_rearm_gfns(mt, user.v, user.n), 0, "frames re-armed by number again");
	/* The rest are frames of system memory; those re-armed already count for the range no more. */
	CHECK_EQ(mt_rearm(mt, prepare.epoch, 0, all.n), all.n - user.n, "frames re-armed by the whole range");
	expect_all_again();
}

/* A frame given by number may stand in the list being filled: the next write reports it once more. */
static void gfns_of_filling_list(void)
{
	struct list one = { 0 };
	struct kvm_mt_prepare prepare;
	struct list all, user;
	u32 seen = 0;

	setup();
	list_add_pages(&one, region, 7, 1, 1);
	write_pages(&vm->vcpus[0], &one, 1);
	CHECK_EQ(mt_rearm_gfns(mt, one.v, 1), 1, "frames re-armed by number");
	write_pages(&vm->vcpus[0], &one, 2);
	all = seal(mt, 0, &prepare);
	user = list_user(&all);
	for (u32 i = 0; i < user.n; i++)
		seen += user.v[i] == one.v[0];
	CHECK(seen >= 1 && seen == user.n, "the frame stands %u times in a list of %u", seen, user.n);
	CHECK_OK(mt_rearm(mt, prepare.epoch, 0, all.n));
	CHECK_EQ(mt_prepare(mt, 0, NULL), 0, "entries after all were re-armed");
}

/* Frames never written, repeated, or without memory: nothing to do, and nothing lost. */
static void gfns_of_no_meaning(void)
{
	struct list odd = { 0 };
	struct list got;

	setup();
	list_add_pages(&odd, region, 1, 3, 2);
	CHECK_EQ(mt_rearm_gfns(mt, odd.v, odd.n), 0, "never-written frames re-armed");
	CHECK_EQ(mt_rearm_gfns(mt, odd.v, 0), 0, "no frames re-armed");
	write_pages(&vm->vcpus[0], &written, 1);
	got = harvest(mt);
	list_expect("pages written afterwards", &got, &written);
	expect_all_again();
}

static void marked_frames(void)
{
	struct list pages = { 0 }, got, none = { 0 };

	setup();
	list_add_pages(&pages, region, 1, 100, 2);
	CHECK_OK(mt_mark(mt, pages.v, pages.n));
	CHECK_OK(mt_mark(mt, pages.v, pages.n));
	write_pages(&vm->vcpus[0], &pages, 1);
	got = harvest(mt);
	list_expect("frames marked twice and written", &got, &pages);
	got = harvest(mt);
	list_expect("frames after they were re-armed", &got, &none);
	CHECK_OK(mt_mark(mt, pages.v, 10));
	pages.n = 10;
	got = harvest(mt);
	list_expect("frames marked again", &got, &pages);
	CHECK_OK(mt_mark(mt, pages.v, 0));
}

/* Long enough, and dense enough, for KVM to put the pages in order before it re-arms them; over two slots. */
static void long_list_in_no_order(void)
{
	struct kvm_mt_prepare prepare;
	struct list all, some = { 0 };
	struct region *second;

	vm = vm_create(1, 0);
	region = vm_region(vm, 1, TEST_GPA(0), 8192, 0);
	second = vm_region(vm, 2, TEST_GPA(1), 1000, 0);
	mt = track(vm);
	list_add_pages(&written, region, 1, 5000, 1);
	list_add_pages(&written, region, 6001, 1000, 2);
	list_add_pages(&written, second, 0, 1000, 1);
	list_shuffle(&written, mt_options.seed);
	write_pages(&vm->vcpus[0], &written, 1);
	all = harvest(mt);
	list_expect("pages of a long list", &all, &written);
	expect_all_again();

	/* A part is re-armed before the whole: what was in it counts no second time. */
	write_pages(&vm->vcpus[0], &written, 100);
	all = seal(mt, 0, &prepare);
	CHECK_EQ(mt_rearm(mt, prepare.epoch, 100, 1000), 1000, "frames of a part re-armed");
	for (u32 i = 100; i < 200; i++)
		list_add(&some, all.v[i]);
	some = list_user(&some);
	write_pages(&vm->vcpus[0], &some, 101);
	CHECK_EQ(mt_rearm(mt, prepare.epoch, 0, all.n), all.n - 1000, "frames of the whole re-armed");
	all = harvest(mt);
	list_expect("pages written between part and whole", &all, &some);
	expect_all_again();

	write_pages(&vm->vcpus[0], &written, 102);
	all = seal(mt, 0, &prepare);
	CHECK_EQ(mt_rearm(mt, prepare.epoch, 100, 1000), 1000, "frames of a part re-armed");
	rearm_by_shares(prepare.epoch, all.n - 1000);
	expect_all_again();
}

static const struct mt_test tests[] = {
	MT_TEST(by_ranges, 30),
	MT_TEST(twice, 30),
	MT_TEST(again_after_write, 30),
	MT_TEST(by_threads, 60),
	MT_TEST(by_shares, 60),
	MT_TEST(while_sealing, 30),
	MT_TEST(by_gfns, 30),
	MT_TEST(gfns_of_filling_list, 30),
	MT_TEST(gfns_of_no_meaning, 30),
	MT_TEST(marked_frames, 30),
	MT_TEST(long_list_in_no_order, 60),
	MT_TESTS_END
};

int main(int argc, char **argv)
{
	return mt_main(argc, argv, tests);
}
