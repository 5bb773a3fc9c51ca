// SPDX-License-Identifier: GPL-2.0-only
/*
 * Live stress: vCPUs write random pages all the time, harvester threads run
 * epochs without stopping them, a zapper takes mappings away.
 *
 *   seal -> take entries -> re-arm them -> copy these pages into the shadow
 *
 * A write that comes after the re-arm is reported in the next epoch, so when
 * the vCPUs stop and one last epoch is done, shadow and memory are equal. A
 * page that differs was lost. One page in HOT_STRIDE is released in place of
 * re-armed, and re-armed by number now and then.
 */
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "mt_guest.h"
#include "mt_list.h"

#define HARVESTERS_MAX	8u
#define CHUNK		32u
#define HOT_STRIDE	16u
#define HOT_PERIOD	8u		/* epochs between two re-arms of the released pages */
#define ROUND_MS	400u

static struct vm *vm;
static struct region *region, *decoy;
static u8 *shadow;
static u64 page_count;
static int mt;

static pthread_barrier_t barrier;
static struct kvm_mt_prepare prepare;	/* this and the next: written by the leader before a barrier */
static bool epoch_is_last;
static atomic_bool harvesters_stop, zapper_stop;
static atomic_ullong pages_copied, zaps;
static unsigned long long epochs;
/* Pages left writable; changed by the leader between two barriers, and by who took the entry. */
static bool *released;

static void copy_page(u64 page)
{
	memcpy(shadow + page * PAGE, region_page(region, page), PAGE);
	atomic_fetch_add(&pages_copied, 1);
}

static void rearm_and_copy_released(void)
{
	u64 *gfns = calloc(page_count, sizeof(u64));
	u32 count = 0;

	CHECK(gfns, "no memory for a list");
	for (u64 page = 0; page < page_count; page += HOT_STRIDE) {
		if (released[page])
			gfns[count++] = GFN(region->gpa) + page;
		released[page] = false;
	}
	CHECK_OK(mt_rearm_gfns(mt, gfns, count));
	for (u32 i = 0; i < count; i++)
		copy_page(gfns[i] - GFN(region->gpa));
	free(gfns);
}

/* Re-arms entries of one chunk, without the pages that stay released, and copies them. */
static void harvest_chunk(u32 start, const u64 *gfns, u32 count)
{
	u32 first = 0;

	for (u32 i = 0; i <= count; i++) {
		u64 page = i < count ? KVM_MT_ENTRY_GFN(gfns[i]) - GFN(region->gpa) : 0;
		bool hot = i < count && page < page_count && page % HOT_STRIDE == 0;

		if (i < count && !hot)
			continue;
		if (i > first)
			CHECK_OK(mt_rearm(mt, prepare.epoch, start + first, i - first));
		for (u32 j = first; j < i; j++)
			if (KVM_MT_ENTRY_GFN(gfns[j]) - GFN(region->gpa) < page_count)
				copy_page(KVM_MT_ENTRY_GFN(gfns[j]) - GFN(region->gpa));
		if (hot)
			released[page] = true;
		first = i + 1;
	}
}

static void harvest_list(void)
{
	u64 gfns[CHUNK];
	u32 start;
	int count;

	while ((count = CHECK_OK(mt_fetch_next(mt, prepare.epoch, &start, gfns, CHUNK))) > 0)
		harvest_chunk(start, gfns, count);
}

/*
 * The released pages are re-armed before the seal or after it by turns: as entries of a list, or as
 * released ones.
 */
static void lead_epoch(void)
{
	unsigned long long turn = epochs % (2 * HOT_PERIOD);

	if (turn == 0)
		rearm_and_copy_released();
	CHECK_OK(mt_prepare(mt, KVM_MT_PREPARE_RELEASE, &prepare));
	CHECK_EQ(prepare.status, 0, "status of the sealed list");
	if (turn == HOT_PERIOD)
		rearm_and_copy_released();
	epochs++;
}

static void *harvester(void *argument)
{
	unsigned int seed = mt_options.seed;
	bool leader = !argument;

	do {
		if (leader) {
			usleep(rand_r(&seed) % 1000);	/* or the vCPUs hardly run */
			lead_epoch();
		}
		pthread_barrier_wait(&barrier);
		harvest_list();
		if (leader)
			epoch_is_last = harvesters_stop;
		pthread_barrier_wait(&barrier);
	} while (!epoch_is_last);
	return NULL;
}

static void zap_by_advice(unsigned int *seed)
{
	u64 eighth = page_count / 8;

	/* Memory of a memfd: the pages stay, only the mappings go. */
	madvise(region_page(region, rand_r(seed) % 8 * eighth), eighth * PAGE, MADV_DONTNEED);
}

static void zap_by_log(unsigned int *seed)
{
	(void)seed;
	region_flags(vm, region, region->flags ^ KVM_MEM_LOG_DIRTY_PAGES);
}

static void zap_by_move(unsigned int *seed)
{
	(void)seed;
	decoy->gpa ^= TEST_GPA(2) ^ TEST_GPA(3);
	CHECK_OK(region_set(vm, decoy));
}

static const struct zap {
	const char *name;
	void (*run)(unsigned int *seed);
} zap_kinds[] = {
	{ "advise", zap_by_advice },
	{ "log", zap_by_log },
	{ "move", zap_by_move },
	{ "none", NULL },
};

static const struct zap *choose_zap(unsigned int *seed)
{
	if (!strcmp(mt_options.zap, "all"))
		return &zap_kinds[rand_r(seed) % (ARRAY_SIZE(zap_kinds) - 1)];
	for (const struct zap *kind = zap_kinds; kind < zap_kinds + ARRAY_SIZE(zap_kinds); kind++)
		if (!strcmp(mt_options.zap, kind->name))
			return kind;
	FAIL("-z %s is not known", mt_options.zap);
}

static void *zapper(void *unused)
{
	unsigned int seed = mt_options.seed;

	(void)unused;
	while (!zapper_stop) {
		const struct zap *kind = choose_zap(&seed);

		if (!kind->run)
			break;
		kind->run(&seed);
		atomic_fetch_add(&zaps, 1);
		usleep(200 + rand_r(&seed) % 4000);
	}
	return NULL;
}

static void setup(void)
{
	CHECK(mt_options.pages && !(mt_options.pages & (mt_options.pages - 1)), "-p %u is no power of two",
	      mt_options.pages);
	CHECK(mt_options.harvesters && mt_options.harvesters <= HARVESTERS_MAX, "-j %u is not 1 to %u",
	      mt_options.harvesters, HARVESTERS_MAX);
	page_count = mt_options.pages;
	vm = vm_create(mt_options.vcpus, 0);
	region = vm_region(vm, 1, TEST_GPA(0), page_count, 0);
	decoy = vm_region(vm, 2, TEST_GPA(2), 16, 0);
	shadow = calloc(page_count, PAGE);
	released = calloc(page_count, sizeof(bool));
	CHECK(shadow && released, "no memory for the shadow copy");
	mt = track(vm);
	CHECK_OK(mt_threshold(mt, page_count / 2));
	CHECK(!pthread_barrier_init(&barrier, NULL, mt_options.harvesters), "no barrier");
	for (unsigned int i = 0; i < mt_options.vcpus; i++) {
		vm->vcpus[i].rerun = true;
		vcpu_program(&vm->vcpus[i], guest_write_random,
			     (u64[5]){ region->gpa, page_count - 1, 8 * i, 77 * mt_options.seed + i, 20 },
			     3);
	}
}

static void run_live(unsigned int duration_ms)
{
	pthread_t threads[HARVESTERS_MAX], zap_thread;

	harvesters_stop = zapper_stop = false;
	for (unsigned int i = 0; i < mt_options.vcpus; i++)
		vcpu_start(&vm->vcpus[i]);
	for (unsigned int i = 0; i < mt_options.harvesters; i++)
		CHECK(!pthread_create(&threads[i], NULL, harvester, (void *)(uintptr_t)i),
		      "no harvester thread");
	CHECK(!pthread_create(&zap_thread, NULL, zapper, NULL), "no zapper thread");

	/*
	 * The second half without zaps: a page is lost until its mapping is taken away, and then
	 * perhaps found again.
	 */
	usleep(duration_ms * 500);
	zapper_stop = true;
	pthread_join(zap_thread, NULL);
	usleep(duration_ms * 500);
	for (unsigned int i = 0; i < mt_options.vcpus; i++) {
		CHECK(!vm->vcpus[i].ended, "vCPU %u left the guest with %d", i, vm->vcpus[i].last);
		vcpu_stop(&vm->vcpus[i]);
	}
	harvesters_stop = true;
	for (unsigned int i = 0; i < mt_options.harvesters; i++)
		pthread_join(threads[i], NULL);
}

/* One last epoch with all vCPUs out; returns how many pages differ, and makes them equal. */
static unsigned int settle(void)
{
	unsigned int lost = 0;

	CHECK_OK(mt_prepare(mt, KVM_MT_PREPARE_RELEASE, &prepare));
	harvest_list();
	rearm_and_copy_released();
	for (u64 page = 0; page < page_count; page++) {
		if (!memcmp(shadow + page * PAGE, region_page(region, page), PAGE))
			continue;
		lost++;
		memcpy(shadow + page * PAGE, region_page(region, page), PAGE);
	}
	return lost;
}

static unsigned long long guest_writes(void)
{
	unsigned long long writes = 0;

	for (unsigned int i = 0; i < mt_options.vcpus; i++) {
		struct kvm_regs regs;

		CHECK_OK(mt_ioctl(vm->vcpus[i].fd, KVM_GET_REGS, &regs));
		writes += regs.rbx;
	}
	return writes;
}

static void live(void)
{
	unsigned int lost = 0, rounds = 0;
	u64 deadline_us;

	setup();
	deadline_us = now_us() + mt_options.duration_s * 1000000ull;
	do {
		run_live(ROUND_MS);
		lost += settle();
		rounds++;
	} while (now_us() < deadline_us);

	mt_note("%u rounds, %llu epochs, %llu guest writes, %llu pages copied, %llu zaps, %u pages lost",
		rounds, epochs, guest_writes(), pages_copied, zaps, lost);
	CHECK(!lost, "%u pages lost", lost);
	CHECK(epochs > rounds && pages_copied && (zaps || !strcmp(mt_options.zap, "none")),
	      "too little happened to prove anything");
}

static const struct mt_test tests[] = {
	MT_TEST(live, 30),
	MT_TESTS_END
};

int main(int argc, char **argv)
{
	return mt_main(argc, argv, tests);
}
