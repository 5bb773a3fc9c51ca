// SPDX-License-Identifier: GPL-2.0-only
/*
 * One page, one vCPU that writes to it all the time, and a re-arm in the middle. What the vCPU writes after
 * the re-arm has to be on the next list. In a debug build with kvm.mt_delay_ns both sides stop in the windows
 * in which the one could overtake the other.
 */
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "mt_guest.h"
#include "mt_list.h"

#define WRITES		3u		/* of the vCPU after a re-arm; more than can be under way */
#define PATIENCE_US	5000000u
#define PAUSE_MAX_US	300u

static struct vm *vm;
static struct region *region;
static int mt;

static u64 written(void)
{
	return *(volatile u64 *)region_page(region, 0);
}

static void await_writes(void)
{
	u64 deadline_us = now_us() + PATIENCE_US, wanted = written() + WRITES;

	while (written() < wanted)
		CHECK(now_us() < deadline_us, "the vCPU writes no more, at %llu", (unsigned long long)written());
}

static void setup(void)
{
	vm = vm_create(1, 0);
	region = vm_region(vm, 1, TEST_GPA(0), 1, 0);
	mt = track(vm);
	vm->vcpus[0].rerun = true;
	vcpu_program(&vm->vcpus[0], guest_write_random, (u64[5]){ region->gpa, 0, 0, 77 * mt_options.seed, 20 }, 3);
	vcpu_start(&vm->vcpus[0]);
}

/* The whole list is sealed and returned; it names the page once. */
static u32 seal_with_page(struct kvm_mt_prepare *prepare, u64 rounds)
{
	struct list all = seal(mt, 0, prepare), user = list_user(&all);
	u32 entries = all.n;

	CHECK(user.n == 1 && user.v[0] == GFN(region->gpa),
	      "round %llu: the page was written after it was re-armed, and is listed %u times",
	      (unsigned long long)rounds, user.n);
	free(all.v);
	free(user.v);
	return entries;
}

static void rearm_against(bool fault)
{
	u64 deadline_us = now_us() + mt_options.duration_s * 1000000ull, rounds = 0;
	unsigned int seed = mt_options.seed;
	struct kvm_mt_prepare prepare;
	u32 entries;

	setup();
	do {
		await_writes();
		entries = seal_with_page(&prepare, rounds++);
		/* The mapping goes, the memory stays: the vCPU is about to make a new SPTE when the re-arm comes. */
		if (fault)
			CHECK_EQ(madvise(region_page(region, 0), PAGE, MADV_DONTNEED), 0, "madvise");
		usleep(rand_r(&seed) % PAUSE_MAX_US);
		CHECK_OK(mt_rearm(mt, prepare.epoch, 0, entries));
	} while (now_us() < deadline_us);
	mt_note("%llu rounds", (unsigned long long)rounds);
	CHECK(rounds > 10, "too little happened to prove anything");
}

static void rearm_against_write(void)
{
	rearm_against(false);
}

static void rearm_against_fault(void)
{
	rearm_against(true);
}

static const struct mt_test tests[] = {
	MT_TEST(rearm_against_write, 30),
	MT_TEST(rearm_against_fault, 30),
	MT_TESTS_END
};

int main(int argc, char **argv)
{
	return mt_main(argc, argv, tests);
}
