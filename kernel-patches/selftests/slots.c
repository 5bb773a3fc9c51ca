// SPDX-License-Identifier: GPL-2.0-only
/* The life of memory slots while tracking is enabled, and of the tracking context itself. */
#include <sys/mman.h>
#include <unistd.h>

#include "mt_guest.h"
#include "mt_list.h"

static struct vm *vm;
static struct region *region;
static struct list pages;
static int mt;

static void setup(void)
{
	vm = vm_create(1, 0);
	region = vm_region(vm, 1, TEST_GPA(0), 256, 0);
	mt = CHECK_OK(mt_create(vm->fd, 4096));
	CHECK_OK(mt_enable(mt));
	list_add_pages(&pages, region, 1, 60, 4);
}

static void expect_tracked(const char *what, const struct list *want)
{
	struct list got, none = { 0 };

	for (u64 round = 1; round <= 2; round++) {
		write_pages(&vm->vcpus[0], want, round);
		got = harvest(mt);
		list_expect(what, &got, want);
	}
	got = harvest(mt);
	list_expect("an epoch without writes", &got, &none);
}

static void created_while_enabled(void)
{
	struct list more = { 0 };

	setup();
	list_add_pages(&more, vm_region(vm, 7, TEST_GPA(2), 128, 0), 0, 40, 3);
	list_append(&more, &pages);
	expect_tracked("pages of a slot made while enabled, and of one made before", &more);
}

static void moved_while_enabled(void)
{
	struct list moved = { 0 };

	setup();
	expect_tracked("pages before the move", &pages);
	region->gpa = TEST_GPA(5) + 3 * PAGE;
	CHECK_OK(region_set(vm, region));
	list_add_pages(&moved, region, 1, 60, 4);
	expect_tracked("pages after the move", &moved);
}

static void made_again_while_enabled(void)
{
	setup();
	for (u64 size = 256; size >= 252; size -= 2) {
		region->pages = 0;
		CHECK_OK(region_set(vm, region));
		region->pages = size;
		CHECK_OK(region_set(vm, region));
		expect_tracked("pages of the slot made again", &pages);
	}
}

/*
 * Written before the slot went and came: the old entries stand in the list, and are armed; what comes
 * later is news.
 */
static void made_again_while_listed(void)
{
	struct kvm_mt_prepare prepare;
	struct list all, got;

	setup();
	write_pages(&vm->vcpus[0], &pages, 1);
	region->pages = 0;
	CHECK_OK(region_set(vm, region));
	region->pages = 256;
	CHECK_OK(region_set(vm, region));
	all = seal(mt, 0, &prepare);
	CHECK_OK(mt_rearm(mt, prepare.epoch, 0, all.n));
	write_pages(&vm->vcpus[0], &pages, 2);
	got = harvest(mt);
	list_expect("pages written after the old list was harvested", &got, &pages);
}

static void logging_toggled(void)
{
	setup();
	for (int i = 0; i < 4; i++) {
		region_flags(vm, region, i % 2 ? 0 : KVM_MEM_LOG_DIRTY_PAGES);
		expect_tracked("pages after logging was switched", &pages);
	}
}

static void read_only_slot(void)
{
	struct region *rom;
	struct list got, none = { 0 };

	setup();
	if (mt_ioctl(vm->fd, KVM_CHECK_EXTENSION, (void *)KVM_CAP_READONLY_MEM) < 1)
		mt_skip("this KVM has no read-only slots");
	rom = vm_region(vm, 3, TEST_GPA(3), 64, KVM_MEM_READONLY);
	vcpu_program(&vm->vcpus[0], guest_read_stride, (u64[5]){ rom->gpa, 64, 0, PAGE }, 3);
	vcpu_finish(&vm->vcpus[0]);
	vcpu_write_stride(&vm->vcpus[0], rom->gpa + 5 * PAGE, 1, PAGE, 1);
	vcpu_run(&vm->vcpus[0]);
	CHECK_EQ(vm->vcpus[0].last, KVM_EXIT_MMIO, "exit reason of a write to a read-only slot");
	got = harvest(mt);
	list_expect("pages of a read-only slot", &got, &none);
	CHECK_OK(mt_disable(mt));
	CHECK_OK(mt_enable(mt));
	expect_tracked("pages of the writable slot beside it", &pages);
}

static void enabled_again(void)
{
	setup();
	for (int i = 0; i < 3; i++) {
		expect_tracked("pages while enabled", &pages);
		write_pages(&vm->vcpus[0], &pages, 5);
		CHECK_OK(mt_disable(mt));
		write_pages(&vm->vcpus[0], &pages, 6);
		CHECK_OK(mt_enable(mt));
	}
}

/* Closing the fd ends the tracking, whatever state it is in, and makes room for a new context. */
static void closed_and_created_again(void)
{
	setup();
	for (int i = 0; i < 3; i++) {
		struct kvm_mt_prepare prepare;

		write_pages(&vm->vcpus[0], &pages, 1);
		CHECK_OK(mt_prepare(mt, 0, &prepare));
		write_pages(&vm->vcpus[0], &pages, 2);
		close(mt);
		write_pages(&vm->vcpus[0], &pages, 3);
		mt = CHECK_OK(mt_create(vm->fd, 4096));
		CHECK_OK(mt_enable(mt));
		expect_tracked("pages with a new context", &pages);
	}
}

/* The context holds the VM: closing the VM's own fds first must be safe. */
static void fd_outlives_vm(void)
{
	struct kvm_mt_prepare prepare;
	struct list all;

	setup();
	write_pages(&vm->vcpus[0], &pages, 1);
	munmap(vm->vcpus[0].run, CHECK_OK(mt_ioctl(vm->kvm, KVM_GET_VCPU_MMAP_SIZE, NULL)));
	close(vm->vcpus[0].fd);
	close(vm->fd);
	all = seal(mt, 0, &prepare);
	CHECK_OK(mt_rearm(mt, prepare.epoch, 0, all.n));
	all = list_user(&all);
	list_expect("pages fetched after the VM's fds were closed", &all, &pages);
	CHECK_OK(mt_disable(mt));
	CHECK_OK(mt_enable(mt));
	close(mt);
}

/* Slots come and go, tracking goes on and off, while vCPUs write and another thread harvests. */
static atomic_bool churn_stop;

static void *churn_slots(void *argument)
{
	struct region *other = argument;

	while (!churn_stop) {
		u64 count = other->pages;

		other->pages = 0;
		CHECK_OK(region_set(vm, other));
		other->pages = count;
		other->gpa ^= TEST_GPA(2) ^ TEST_GPA(3);
		CHECK_OK(region_set(vm, other));
		usleep(1000);
	}
	return NULL;
}

static void churn_while_running(void)
{
	struct region *other;
	pthread_t churner;

	setup();
	other = vm_region(vm, 9, TEST_GPA(2), 64, 0);
	vcpu_program(&vm->vcpus[0], guest_write_random, (u64[5]){ region->gpa, 255, 0, 1, 20 }, 3);
	vcpu_start(&vm->vcpus[0]);
	CHECK(!pthread_create(&churner, NULL, churn_slots, other), "no thread");
	for (int i = 0; i < 40; i++) {
		struct kvm_mt_prepare prepare;
		u64 marked = GFN(other->gpa);

		(void)mt_mark(mt, &marked, 1);
		CHECK_OK(mt_prepare(mt, 0, &prepare));
		CHECK_OK(mt_rearm(mt, prepare.epoch, 0, prepare.count));
		(void)mt_rearm_gfns(mt, &marked, 1);
		if (i % 8 == 7) {
			CHECK_OK(mt_disable(mt));
			CHECK_OK(mt_enable(mt));
		}
	}
	churn_stop = true;
	pthread_join(churner, NULL);
	CHECK(!vm->vcpus[0].ended, "the vCPU left the guest with %d", vm->vcpus[0].last);
	vcpu_stop(&vm->vcpus[0]);
	(void)harvest(mt);
	expect_tracked("pages after the churn", &pages);
}

static const struct mt_test tests[] = {
	MT_TEST(created_while_enabled, 30),
	MT_TEST(moved_while_enabled, 30),
	MT_TEST(made_again_while_enabled, 30),
	MT_TEST(made_again_while_listed, 30),
	MT_TEST(logging_toggled, 30),
	MT_TEST(read_only_slot, 30),
	MT_TEST(enabled_again, 30),
	MT_TEST(closed_and_created_again, 30),
	MT_TEST(fd_outlives_vm, 30),
	MT_TEST(churn_while_running, 60),
	MT_TESTS_END
};

int main(int argc, char **argv)
{
	return mt_main(argc, argv, tests);
}
