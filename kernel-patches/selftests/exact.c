// SPDX-License-Identifier: GPL-2.0-only
/* Every frame that was written is reported once, none that was not. */
#include <stdio.h>

#include "mt_guest.h"
#include "mt_list.h"

static void sequential(void)
{
	struct vm *vm = vm_create(1, 0);
	struct region *region = vm_region(vm, 1, TEST_GPA(0), 1024, 0);
	struct list want = { 0 }, got;
	int mt = track(vm);

	vcpu_write_stride(&vm->vcpus[0], region->gpa, 700, PAGE, 1);
	vcpu_finish(&vm->vcpus[0]);
	list_add_pages(&want, region, 0, 700, 1);
	got = harvest(mt);
	list_expect("700 pages in order", &got, &want);
	CHECK_EQ(*(u64 *)region_page(region, 699), 1, "value that the guest wrote");
}

static void scattered_over_slots(void)
{
	struct vm *vm = vm_create(1, 0);
	struct list want = { 0 }, got;
	int mt;

	for (u32 i = 0; i < 3; i++)
		vm_region(vm, i + 1, TEST_GPA(i) + i * 3 * PAGE, 600, 0);
	for (u32 i = 0; i < 3; i++)
		list_add_pages(&want, &vm->regions[i + 1], i, 80, 7);
	list_shuffle(&want, mt_options.seed);
	mt = track(vm);
	for (u64 round = 1; round <= 3; round++) {
		write_pages(&vm->vcpus[0], &want, round);
		got = harvest(mt);
		list_expect("scattered pages of three slots", &got, &want);
	}
}

/* All vCPUs write all pages, in different orders: each page once. */
static void shared_pages(unsigned int vcpus)
{
	struct vm *vm = vm_create(vcpus, 0);
	struct region *region = vm_region(vm, 1, TEST_GPA(0), 1024, 0);
	struct list want = { 0 }, got;
	int mt = track(vm);

	list_add_pages(&want, region, 3, 340, 3);
	for (u64 round = 1; round <= 3; round++) {
		for (unsigned int i = 0; i < vcpus; i++) {
			u64 addresses[340];

			list_shuffle(&want, mt_options.seed + 10 * round + i);
			for (u32 n = 0; n < want.n; n++)
				addresses[n] = want.v[n] * PAGE + 8 * i;
			vcpu_write_list(&vm->vcpus[i], addresses, want.n, round);
			vcpu_start(&vm->vcpus[i]);
		}
		for (unsigned int i = 0; i < vcpus; i++) {
			vcpu_wait(&vm->vcpus[i]);
			CHECK_EQ(vm->vcpus[i].last, KVM_EXIT_IO, "exit reason");
		}
		got = harvest(mt);
		list_expect("pages that all vCPUs wrote", &got, &want);
	}
}

static void two_vcpus(void)
{
	shared_pages(2);
}

static void four_vcpus(void)
{
	shared_pages(4);
}

static void read_pages(struct vcpu *vcpu, const struct region *region, u64 count)
{
	vcpu_program(vcpu, guest_read_stride, (u64[5]){ region->gpa, count, 0, PAGE }, 3);
	vcpu_finish(vcpu);
}

static void reads_not_reported(void)
{
	struct vm *vm = vm_create(1, 0);
	struct region *region = vm_region(vm, 1, TEST_GPA(0), 512, 0);
	struct list want = { 0 }, got;
	int mt = track(vm);

	/*
	 * The first access to a page makes a writable mapping, and that is
	 * reported even if it was a read, as the dirty log does. Not after that.
	 */
	read_pages(&vm->vcpus[0], region, 512);
	got = harvest(mt);
	mt_note("%u of 512 pages reported when first read", got.n);
	read_pages(&vm->vcpus[0], region, 512);
	got = harvest(mt);
	list_expect("pages that were only read", &got, &want);

	list_add_pages(&want, region, 0, 100, 5);
	write_pages(&vm->vcpus[0], &want, 1);
	read_pages(&vm->vcpus[0], region, 512);
	got = harvest(mt);
	list_expect("pages that were read, of them written", &got, &want);
}

/* Not re-armed: not reported again. Re-armed: reported again at the next write, and not before. */
static void second_epoch(void)
{
	struct vm *vm = vm_create(1, 0);
	struct region *region = vm_region(vm, 1, TEST_GPA(0), 512, 0);
	struct list pages = { 0 }, armed, all, got, none = { 0 };
	struct kvm_mt_prepare prepare;
	int mt = track(vm);

	list_add_pages(&pages, region, 0, 200, 2);
	write_pages(&vm->vcpus[0], &pages, 1);
	all = seal(mt, 0, &prepare);
	CHECK_EQ(mt_rearm(mt, prepare.epoch, 0, all.n / 2), all.n / 2, "frames re-armed");
	write_pages(&vm->vcpus[0], &pages, 2);
	CHECK_EQ(mt_rearm(mt, prepare.epoch, all.n / 2, all.n - all.n / 2), all.n - all.n / 2,
		 "frames re-armed");

	armed = (struct list){ .v = all.v, .n = all.n / 2, .room = all.n / 2 };
	armed = list_user(&armed);
	got = harvest(mt);
	list_expect("pages re-armed before the second write", &got, &armed);
	got = harvest(mt);
	list_expect("an epoch without writes", &got, &none);
	write_pages(&vm->vcpus[0], &pages, 3);
	got = harvest(mt);
	list_expect("pages after all were re-armed", &got, &pages);
}

static void store_across_pages(void)
{
	struct vm *vm = vm_create(1, 0);
	struct region *region = vm_region(vm, 1, TEST_GPA(0), 64, 0);
	u64 addresses[2] = { region->gpa + 11 * PAGE - 4, region->gpa + 21 * PAGE - 1 };
	struct list want = { 0 }, got;
	int mt = track(vm);

	list_add_pages(&want, region, 10, 2, 1);
	list_add_pages(&want, region, 20, 2, 1);
	vcpu_write_list(&vm->vcpus[0], addresses, 2, ~0ull);
	vcpu_finish(&vm->vcpus[0]);
	got = harvest(mt);
	list_expect("stores that cross a page boundary", &got, &want);
}

/* Pages that no vCPU stored to but KVM itself, here the clock page. */
static void written_by_kvm(void)
{
	struct { struct kvm_msrs head; struct kvm_msr_entry entry; } msrs = { .head.nmsrs = 1 };
	struct vm *vm = vm_create(1, 0);
	struct region *region = vm_region(vm, 1, TEST_GPA(0), 64, 0);
	struct list want = { 0 }, got;
	int mt = track(vm);

	msrs.entry.index = 0x4b564d01;	/* MSR_KVM_SYSTEM_TIME_NEW */
	msrs.entry.data = (region->gpa + 33 * PAGE) | 1;
	if (mt_ioctl(vm->vcpus[0].fd, KVM_SET_MSRS, &msrs) != 1)
		mt_skip("this KVM has no clock page");
	vcpu_write_stride(&vm->vcpus[0], region->gpa, 1, PAGE, 1);
	vcpu_finish(&vm->vcpus[0]);
	list_add_pages(&want, region, 0, 1, 1);
	list_add_pages(&want, region, 33, 1, 1);
	got = harvest(mt);
	list_expect("a page of the guest and the clock page", &got, &want);
}

static void address_space_of_mark(void)
{
	struct vm *vm = vm_create(1, 0);
	struct region *region = vm_region(vm, 1, TEST_GPA(0), 64, 0), *other;
	struct list want = { 0 }, got;
	int mt;

	if (mt_ioctl(vm->fd, KVM_CHECK_EXTENSION, (void *)KVM_CAP_MULTI_ADDRESS_SPACE) < 2)
		mt_skip("this KVM has one address space");
	other = vm_region(vm, 1 << 16 | 1, TEST_GPA(0), 64, 0);
	mt = track(vm);
	list_add_pages(&want, region, 1, 20, 3);
	list_add_pages(&want, other, 2, 20, 3);
	CHECK_OK(mt_mark(mt, want.v, want.n));
	got = harvest(mt);
	list_expect("frames marked in two address spaces", &got, &want);
}

/*
 * In system management mode a vCPU works in address space 1. Entering writes
 * the state save area there; the handler writes one more page, then says done.
 */
static void address_space_of_vcpu(void)
{
	static const u8 handler[] = {
		0xb8, 0x00, 0x40,			/* mov $0x4000, %ax */
		0x8e, 0xd8,				/* mov %ax, %ds */
		0xff, 0x06, 0x00, 0x00,			/* incw 0 */
		0xe6, DONE_PORT,			/* out %al, $DONE_PORT */
		0xeb, 0xf8,				/* jmp to the incw */
	};
	struct vm *vm = vm_create(1, VM_IRQCHIP);
	struct list want = { 0 }, got;
	struct region *region;
	int mt;

	if (mt_ioctl(vm->fd, KVM_CHECK_EXTENSION, (void *)KVM_CAP_X86_SMM) < 1)
		mt_skip("this KVM has no system management mode");
	region = vm_region(vm, 1 << 16 | 1, 0, 256, 0);
	memcpy(region_page(region, 0x38), handler, sizeof(handler));	/* SMBASE 0x30000 + 0x8000 */
	mt = track(vm);
	vcpu_program(&vm->vcpus[0], guest_spin, (u64[5]){ 0 }, 3);
	CHECK_OK(mt_ioctl(vm->vcpus[0].fd, KVM_SMI, NULL));
	/*
	 * The save area is SMBASE + 0xfe00. The handler's own page comes with its first execution, as
	 * any first read.
	 */
	list_add_pages(&want, region, 0x40, 1, 1);
	list_add_pages(&want, region, 0x3f, 1, 1);
	list_add_pages(&want, region, 0x38, 1, 1);
	for (int round = 1; round <= 3; round++) {
		vcpu_finish(&vm->vcpus[0]);
		CHECK_EQ(*(uint16_t *)region_page(region, 0x40), round, "what the handler wrote");
		got = harvest(mt);
		list_expect("pages of address space 1", &got, &want);
		want.n = 1;	/* still in the mode: nothing is saved again */
	}
}

static const struct mt_test tests[] = {
	MT_TEST(sequential, 30),
	MT_TEST(scattered_over_slots, 30),
	MT_TEST(two_vcpus, 60),
	MT_TEST(four_vcpus, 60),
	MT_TEST(reads_not_reported, 30),
	MT_TEST(second_epoch, 30),
	MT_TEST(store_across_pages, 30),
	MT_TEST(written_by_kvm, 30),
	MT_TEST(address_space_of_mark, 30),
	MT_TEST(address_space_of_vcpu, 30),
	MT_TESTS_END
};

int main(int argc, char **argv)
{
	return mt_main(argc, argv, tests);
}
