// SPDX-License-Identifier: GPL-2.0-only
/* Frames that userspace leaves writable on purpose: silent until they are re-armed by number. */
#include "mt_list.h"

#define RELEASED	40u
#define OTHERS		60u

static struct vm *vm;
static struct region *region;
static struct list hot, others, both;
static int mt;

/* Splits the sealed list: re-arms all but the hot frames, and seals once more with the hot ones released. */
static void release_hot(void)
{
	struct kvm_mt_prepare prepare;
	struct list all = seal(mt, 0, &prepare);

	for (u32 i = 0; i < all.n; i++) {
		bool is_hot = false;

		for (u32 j = 0; j < hot.n; j++)
			is_hot |= all.v[i] == hot.v[j];
		if (!is_hot)
			CHECK_EQ(mt_rearm(mt, prepare.epoch, i, 1), 1, "frames re-armed");
	}
	CHECK_ERR(mt_prepare(mt, 0, NULL), EBUSY);
	CHECK_EQ(mt_prepare(mt, KVM_MT_PREPARE_RELEASE, NULL), 0, "entries of the list after the release");
}

static void setup(void)
{
	vm = vm_create(1, VM_IRQCHIP);
	region = vm_region(vm, 1, TEST_GPA(0), 512, 0);
	mt = track(vm);
	list_add_pages(&hot, region, 0, RELEASED, 3);
	list_add_pages(&others, region, 200, OTHERS, 2);
	list_append(&both, &hot);
	list_append(&both, &others);
	write_pages(&vm->vcpus[0], &both, 1);
	release_hot();
}

/* A list in which the frames that were listed are all re-armed, whether or not others are released. */
static struct list harvest_released(void)
{
	struct kvm_mt_prepare prepare;
	struct list all = seal(mt, KVM_MT_PREPARE_RELEASE, &prepare);

	CHECK_EQ(mt_rearm(mt, prepare.epoch, 0, all.n), all.n, "frames re-armed");
	return list_user(&all);
}

static void silent_over_epochs(void)
{
	struct list got;

	setup();
	for (u64 round = 2; round < 6; round++) {
		write_pages(&vm->vcpus[0], &both, round);
		got = round % 2 ? harvest(mt) : harvest_released();
		list_expect("released pages and others written", &got, &others);
		for (u32 i = 0; i < hot.n; i++)
			CHECK_EQ(*(u64 *)region_page(region, 3 * i), round, "value of a released page");
	}
}

static void reported_after_rearm(void)
{
	struct list got, none = { 0 };

	setup();
	write_pages(&vm->vcpus[0], &hot, 2);
	CHECK_EQ(mt_rearm_gfns(mt, hot.v, hot.n), hot.n, "released frames re-armed");
	CHECK_EQ(mt_rearm_gfns(mt, hot.v, hot.n), 0, "released frames re-armed again");
	got = harvest(mt);
	list_expect("released pages not written since they were re-armed", &got, &none);
	write_pages(&vm->vcpus[0], &both, 3);
	got = harvest(mt);
	list_expect("all pages after the release ended", &got, &both);
}

/*
 * MARK says that a frame changed. Its change is no news for a frame whose changes userspace looks for
 * itself.
 */
static void marked_while_released(void)
{
	struct list got, none = { 0 };

	setup();
	CHECK_OK(mt_mark(mt, hot.v, hot.n));
	got = harvest(mt);
	list_expect("released frames that were marked", &got, &none);
}

static void not_counted_for_threshold(void)
{
	struct kvm_mt_status status;

	setup();
	CHECK_OK(mt_status(mt, &status));
	CHECK_EQ(status.count, 0, "entries after the release");
	CHECK_OK(mt_threshold(mt, OTHERS + RELEASED / 2));
	write_pages(&vm->vcpus[0], &both, 2);
	CHECK_OK(mt_status(mt, &status));
	CHECK(status.count >= OTHERS && status.count < OTHERS + RELEASED / 2,
	      "%u entries of %u written pages",
	      status.count, OTHERS);
}

static void forgotten_by_disable(void)
{
	struct list got;

	setup();
	CHECK_OK(mt_disable(mt));
	CHECK_OK(mt_enable(mt));
	write_pages(&vm->vcpus[0], &both, 2);
	got = harvest(mt);
	list_expect("all pages after tracking was enabled anew", &got, &both);
}

static struct list shifted(const struct list *list, u64 from_gpa, u64 to_gpa)
{
	struct list moved = { 0 };

	for (u32 i = 0; i < list->n; i++)
		list_add(&moved, list->v[i] - GFN(from_gpa) + GFN(to_gpa));
	return moved;
}

/* The slot at its new place starts like any new slot: nothing listed, nothing released. */
static void forgotten_by_slot_move(void)
{
	struct list moved, got;

	setup();
	region->gpa = TEST_GPA(3);
	CHECK_OK(region_set(vm, region));
	moved = shifted(&both, TEST_GPA(0), TEST_GPA(3));
	write_pages(&vm->vcpus[0], &moved, 2);
	got = harvest(mt);
	list_expect("pages of the moved slot", &got, &moved);

	/* Numbers from before the move name no memory now; re-arming them harms nothing. */
	(void)mt_rearm_gfns(mt, hot.v, hot.n);
	write_pages(&vm->vcpus[0], &moved, 3);
	got = harvest(mt);
	list_expect("pages of the moved slot, second epoch", &got, &moved);
}

static void forgotten_by_slot_delete(void)
{
	u64 pages;
	struct list got;

	setup();
	pages = region->pages;
	region->pages = 0;
	CHECK_OK(region_set(vm, region));
	region->pages = pages;
	CHECK_OK(region_set(vm, region));
	write_pages(&vm->vcpus[0], &both, 2);
	got = harvest(mt);
	list_expect("pages of the slot that was made again", &got, &both);
}

/* Listed, sealed or not, when the slot goes: sealing and re-arming still come to an end. */
static void slot_gone_while_listed(void)
{
	struct kvm_mt_prepare prepare;
	struct list all, got;

	setup();
	write_pages(&vm->vcpus[0], &others, 2);
	all = seal(mt, 0, &prepare);
	CHECK_OK(mt_mark(mt, (u64[]){ GFN(region->gpa) + 1 }, 1));
	region->gpa = TEST_GPA(4);
	CHECK_OK(region_set(vm, region));
	CHECK_OK(mt_rearm(mt, prepare.epoch, 0, all.n));
	all = seal(mt, 0, &prepare);
	CHECK_OK(mt_rearm(mt, prepare.epoch, 0, all.n));
	all = shifted(&both, TEST_GPA(0), TEST_GPA(4));
	write_pages(&vm->vcpus[0], &all, 3);
	got = harvest(mt);
	list_expect("pages of the slot that was moved while listed", &got, &all);
}

static const struct mt_test tests[] = {
	MT_TEST(silent_over_epochs, 30),
	MT_TEST(reported_after_rearm, 30),
	MT_TEST(marked_while_released, 30),
	MT_TEST(not_counted_for_threshold, 30),
	MT_TEST(forgotten_by_disable, 30),
	MT_TEST(forgotten_by_slot_move, 30),
	MT_TEST(forgotten_by_slot_delete, 30),
	MT_TEST(slot_gone_while_listed, 30),
	MT_TESTS_END
};

int main(int argc, char **argv)
{
	return mt_main(argc, argv, tests);
}
