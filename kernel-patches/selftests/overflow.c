// SPDX-License-Identifier: GPL-2.0-only
/* More frames than the list holds: said so until tracking starts anew, and everything works after that. */
#include "mt_list.h"

#define ROOM	64u

static struct vm *vm;
static struct region *region;
static int mt;

static void setup(void)
{
	vm = vm_create(1, 0);
	region = vm_region(vm, 1, TEST_GPA(0), 512, 0);
	mt = CHECK_OK(mt_create(vm->fd, ROOM));
	CHECK_OK(mt_enable(mt));
}

static u32 status_flags(void)
{
	struct kvm_mt_status status;

	CHECK_OK(mt_status(mt, &status));
	return status.flags;
}

static void overflow_once(void)
{
	struct list pages = { 0 };

	list_add_pages(&pages, region, 0, 2 * ROOM, 2);
	write_pages(&vm->vcpus[0], &pages, 1);
}

static void sticky(void)
{
	struct kvm_mt_prepare prepare;

	setup();
	CHECK(!(status_flags() & KVM_MT_STATUS_OVERFLOW), "overflow before a write");
	overflow_once();
	CHECK(status_flags() & KVM_MT_STATUS_OVERFLOW,
	      "%u writes into a list of %u: no overflow in the status",
	      2 * ROOM, ROOM);
	for (int round = 0; round < 3; round++) {
		u32 count = CHECK_OK(mt_prepare(mt, 0, &prepare));

		CHECK(prepare.status & KVM_MT_STATUS_OVERFLOW, "no overflow in seal %d", round);
		CHECK(count <= ROOM, "%u entries in a list of %u", count, ROOM);
		CHECK_OK(mt_rearm(mt, prepare.epoch, 0, count));
	}
	CHECK(status_flags() & KVM_MT_STATUS_OVERFLOW, "sealing cleared the overflow");
}

static void exactly_full(void)
{
	struct kvm_mt_prepare prepare;
	struct list pages = { 0 };

	setup();
	list_add_pages(&pages, region, 0, ROOM, 1);
	CHECK_OK(mt_mark(mt, pages.v, ROOM));
	CHECK_EQ(mt_prepare(mt, 0, &prepare), ROOM, "entries sealed");
	CHECK_EQ(prepare.status, 0, "status of a list that is just full");
	CHECK_EQ(mt_rearm(mt, prepare.epoch, 0, ROOM), ROOM, "frames re-armed");
	list_add_pages(&pages, region, ROOM, 1, 1);
	CHECK_OK(mt_mark(mt, pages.v, ROOM + 1));
	CHECK_EQ(mt_prepare(mt, 0, &prepare), ROOM, "entries sealed");
	CHECK_EQ(prepare.status, KVM_MT_STATUS_OVERFLOW, "status after one frame more");
}

static void recovery(void)
{
	struct list pages = { 0 }, none = { 0 }, got;

	setup();
	list_add_pages(&pages, region, 5, ROOM / 2, 3);
	for (int round = 0; round < 3; round++) {
		overflow_once();
		CHECK_OK(mt_disable(mt));
		CHECK_OK(mt_enable(mt));
		CHECK(!(status_flags() & KVM_MT_STATUS_OVERFLOW), "overflow after enabling anew");
		got = harvest(mt);
		list_expect("the new list before a write", &got, &none);
		write_pages(&vm->vcpus[0], &pages, round);
		got = harvest(mt);
		list_expect("pages written after the recovery", &got, &pages);
	}
}

static const struct mt_test tests[] = {
	MT_TEST(sticky, 30),
	MT_TEST(exactly_full, 30),
	MT_TEST(recovery, 30),
	MT_TESTS_END
};

int main(int argc, char **argv)
{
	return mt_main(argc, argv, tests);
}
