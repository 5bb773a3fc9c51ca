// SPDX-License-Identifier: GPL-2.0-only
/* Reading a sealed list: by ranges, by several threads, through the mapping. */
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "mt_list.h"

#define PAGES		1000u
#define THREADS		4

static struct vm *vm;
static struct region *region;
static struct list written;
static struct kvm_mt_prepare prepare;
static u32 room;
static int mt;

/* The guest writes PAGES frames and the list of them is sealed; nothing is fetched yet. */
static void setup(u32 max_gfns)
{
	room = max_gfns;
	vm = vm_create(1, 0);
	region = vm_region(vm, 1, TEST_GPA(0), 2 * PAGES, 0);
	mt = CHECK_OK(mt_create(vm->fd, max_gfns));
	CHECK_OK(mt_enable(mt));
	list_add_pages(&written, region, 1, PAGES, 2);
	list_shuffle(&written, mt_options.seed);
	write_pages(&vm->vcpus[0], &written, 1);
	CHECK(mt_prepare(mt, 0, &prepare) >= (int)PAGES, "%u entries sealed", prepare.count);
}

static void expect_written(const char *what, const struct list *got)
{
	struct list user = list_user(got);

	CHECK_EQ(got->n, prepare.count, what);
	list_expect(what, &user, &written);
}

static void by_ranges(void)
{
	struct list got = { 0 };
	u64 chunk[7];

	setup(4096);
	for (u32 start = 0; start < prepare.count; start += 7) {
		int count = CHECK_OK(mt_fetch(mt, prepare.epoch, start, chunk, 7));

		CHECK_EQ(count, prepare.count - start < 7 ? prepare.count - start : 7, "entries of a chunk");
		for (int i = 0; i < count; i++)
			list_add(&got, chunk[i]);
	}
	expect_written("list fetched in chunks", &got);
	/* Fetching takes nothing away. */
	got.n = CHECK_OK(mt_fetch(mt, prepare.epoch, 0, got.v, prepare.count));
	expect_written("list fetched again in one piece", &got);
}

static void *take(void *argument)
{
	struct list *mine = argument;
	u64 chunk[13];
	u32 start;
	int count;

	while ((count = mt_fetch_next(mt, prepare.epoch, &start, chunk, 13)) > 0) {
		u64 same[13];

		CHECK_EQ(mt_fetch(mt, prepare.epoch, start, same, count), count,
			 "the same range fetched by index");
		CHECK(!memcmp(chunk, same, count * sizeof(u64)),
		      "FETCH_NEXT at %u is not what the range holds", start);
		for (int i = 0; i < count; i++)
			list_add(mine, chunk[i]);
		CHECK_OK(mt_rearm(mt, prepare.epoch, start, count));
	}
	CHECK_OK(count);
	return NULL;
}

/* Each entry is taken once by one of the threads; the cursor starts anew with each seal. */
static void next_by_threads(void)
{
	setup(4096);
	for (int round = 0; round < 3; round++) {
		struct list parts[THREADS] = { 0 }, got = { 0 };
		pthread_t threads[THREADS];

		for (int i = 0; i < THREADS; i++)
			CHECK(!pthread_create(&threads[i], NULL, take, &parts[i]), "no thread");
		for (int i = 0; i < THREADS; i++) {
			pthread_join(threads[i], NULL);
			list_append(&got, &parts[i]);
		}
		expect_written("list taken by threads", &got);
		write_pages(&vm->vcpus[0], &written, round);
		CHECK_OK(mt_prepare(mt, 0, &prepare));
	}
}

static void check_mapping(const u64 *map)
{
	const u64 *half = map + prepare.list * mt_map_half(room) / sizeof(u64);
	struct list all = { 0 };
	u64 one;

	CHECK(prepare.list <= 1, "list %u of two", prepare.list);
	for (u32 i = 0; i < prepare.count; i++) {
		CHECK(half[i] & KVM_MT_ENTRY_VALID, "entry %u of %u is %#llx, not valid", i, prepare.count,
		      (unsigned long long)half[i]);
		CHECK(!(half[i] & KVM_MT_ENTRY_REARMED), "entry %u is marked as re-armed too early", i);
		CHECK_EQ(mt_fetch(mt, prepare.epoch, i, &one, 1), 1, "entries fetched");
		CHECK_EQ(half[i] & ~KVM_MT_ENTRY_VALID, one, "entry mapped and fetched");
		list_add(&all, one);
	}
	expect_written("mapped list", &all);
}

static void mapping_agrees(u32 max_gfns)
{
	const u64 *map;

	setup(max_gfns);
	map = mmap(NULL, mt_map_bytes(room), PROT_READ, MAP_SHARED, mt, 0);
	CHECK(map != MAP_FAILED, "mapping both lists: %s", strerror(errno));
	/* Several epochs: both halves come up. */
	for (int round = 0; round < 4; round++) {
		check_mapping(map);
		CHECK_EQ(mt_rearm(mt, prepare.epoch, 0, prepare.count), prepare.count, "frames re-armed");
		write_pages(&vm->vcpus[0], &written, round);
		CHECK_OK(mt_prepare(mt, 0, &prepare));
	}
}

static void mapping(void)
{
	mapping_agrees(4096);
}

static void mapping_of_odd_size(void)
{
	mapping_agrees(2 * PAGES + 777);
}

static void mapping_shows_rearmed(void)
{
	const u64 *map, *half;

	setup(4096);
	map = mmap(NULL, mt_map_bytes(room), PROT_READ, MAP_SHARED, mt, 0);
	CHECK(map != MAP_FAILED, "mapping both lists: %s", strerror(errno));
	half = map + prepare.list * mt_map_half(room) / sizeof(u64);
	CHECK_EQ(mt_rearm(mt, prepare.epoch, 10, 20), 20, "frames re-armed");
	for (u32 i = 0; i < prepare.count; i++)
		CHECK_EQ(!!(half[i] & KVM_MT_ENTRY_REARMED), i >= 10 && i < 30, "mark of a re-armed entry");
}

static void mapping_read_only(void)
{
	size_t bytes;
	void *map;

	setup(4096);
	bytes = mt_map_bytes(room);
	CHECK(mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, mt, 0) == MAP_FAILED,
	      "a writable mapping is given");
	map = mmap(NULL, bytes, PROT_READ, MAP_SHARED, mt, 0);
	CHECK(map != MAP_FAILED, "mapping both lists: %s", strerror(errno));
	CHECK(mprotect(map, bytes, PROT_READ | PROT_WRITE) < 0, "the mapping can be made writable");
	CHECK(mmap(NULL, bytes + PAGE, PROT_READ, MAP_SHARED, mt, 0) == MAP_FAILED,
	      "more than both lists is mapped");
	CHECK(mmap(NULL, PAGE, PROT_READ, MAP_SHARED, mt, bytes) == MAP_FAILED,
	      "memory after the lists is mapped");
}

/* The lists live as long as their mapping. */
static void mapping_outlives_fd(void)
{
	const u64 *map, *half;

	setup(4096);
	map = mmap(NULL, mt_map_bytes(room), PROT_READ, MAP_SHARED, mt, 0);
	CHECK(map != MAP_FAILED, "mapping both lists: %s", strerror(errno));
	half = map + prepare.list * mt_map_half(room) / sizeof(u64);
	CHECK(half[0] & KVM_MT_ENTRY_VALID, "entry 0 is not valid");
	close(mt);
	close(vm->fd);
	/* Whatever stands there now: reading must not fault. */
	for (size_t i = 0; i < mt_map_bytes(room) / sizeof(u64); i++)
		(void)*(const volatile u64 *)&map[i];
}

static const struct mt_test tests[] = {
	MT_TEST(by_ranges, 30),
	MT_TEST(next_by_threads, 60),
	MT_TEST(mapping, 30),
	MT_TEST(mapping_of_odd_size, 30),
	MT_TEST(mapping_shows_rearmed, 30),
	MT_TEST(mapping_read_only, 30),
	MT_TEST(mapping_outlives_fd, 30),
	MT_TESTS_END
};

int main(int argc, char **argv)
{
	return mt_main(argc, argv, tests);
}
