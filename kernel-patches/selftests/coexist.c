// SPDX-License-Identifier: GPL-2.0-only
/*
 * Beside dirty logging, as a bitmap or a ring, switched on in either order:
 * each reports its own. Beside other VMs, tracked or logged: nobody is disturbed.
 *
 * The tests of a log without tracking (plain_*) run on any KVM.
 */
#include <stdlib.h>
#include <unistd.h>

#include "mt_guest.h"
#include "mt_list.h"

#define PAGES		512u
#define NO_MT		(-1)

enum order { TRACK_FIRST, LOG_FIRST };

struct side {
	struct vm *vm;
	struct region *logged;		/* tracked as well, if the VM is */
	struct region *unlogged;
	u64 manual;			/* flags of KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2, 0: none */
	int mt;
};

static struct list pages_of(const struct region *region, u64 first, u64 count, u64 stride)
{
	struct list pages = { 0 };

	list_add_pages(&pages, region, first, count, stride);
	return pages;
}

static void make_vm(struct side *side, unsigned int flags)
{
	*side = (struct side){ .vm = vm_create(2, flags), .mt = NO_MT };
	side->logged = vm_region(side->vm, 1, TEST_GPA(0), PAGES, 0);
	side->unlogged = vm_region(side->vm, 2, TEST_GPA(1), PAGES, 0);
}

static void start(struct side *side, enum order order, bool tracked)
{
	if (tracked && order == TRACK_FIRST)
		side->mt = track(side->vm);
	if (side->manual) {
		struct kvm_enable_cap cap = { .cap = KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2,
					      .args = { side->manual } };

		CHECK_OK(mt_ioctl(side->vm->fd, KVM_ENABLE_CAP, &cap));
	}
	region_flags(side->vm, side->logged, KVM_MEM_LOG_DIRTY_PAGES);
	if (tracked && order == LOG_FIRST)
		side->mt = track(side->vm);
}

static void clear_log(struct side *side, u64 *bitmap)
{
	struct kvm_clear_dirty_log clear = {
		.slot = side->logged->slot, .num_pages = PAGES, .dirty_bitmap = bitmap,
	};

	CHECK_OK(mt_ioctl(side->vm->fd, KVM_CLEAR_DIRTY_LOG, &clear));
}

static struct list read_bitmap(struct side *side)
{
	u64 bitmap[PAGES / 64] = { 0 };
	struct kvm_dirty_log log = { .slot = side->logged->slot, .dirty_bitmap = bitmap };
	struct list got = { 0 };

	CHECK_OK(mt_ioctl(side->vm->fd, KVM_GET_DIRTY_LOG, &log));
	for (u32 page = 0; page < PAGES; page++)
		if (bitmap[page / 64] & 1ull << page % 64)
			list_add_pages(&got, side->logged, page, 1, 1);
	if (side->manual)
		clear_log(side, bitmap);
	return got;
}

/* A frame may be in a ring twice; the list has it once. */
static void add_once(struct list *list, u64 entry)
{
	for (u32 i = 0; i < list->n; i++)
		if (list->v[i] == entry)
			return;
	list_add(list, entry);
}

static struct list read_rings(struct side *side)
{
	struct list got = { 0 };

	for (unsigned int i = 0; i < side->vm->vcpu_count; i++) {
		struct vcpu *vcpu = &side->vm->vcpus[i];

		for (;;) {
			struct kvm_dirty_gfn *entry = &vcpu->ring[vcpu->ring_next % RING_ENTRIES];

			if (__atomic_load_n(&entry->flags, __ATOMIC_ACQUIRE) != KVM_DIRTY_GFN_F_DIRTY)
				break;
			CHECK_EQ(entry->slot, side->logged->slot, "slot of a ring's entry");
			add_once(&got, GFN(side->logged->gpa) + entry->offset);
			__atomic_store_n(&entry->flags, KVM_DIRTY_GFN_F_RESET, __ATOMIC_RELEASE);
			vcpu->ring_next++;
		}
	}
	CHECK_OK(mt_ioctl(side->vm->fd, KVM_RESET_DIRTY_RINGS, NULL));
	return got;
}

static struct list read_log(struct side *side)
{
	return side->vm->flags & VM_RING ? read_rings(side) : read_bitmap(side);
}

static void expect_log(const char *what, struct side *side, const struct list *want)
{
	struct list got = read_log(side);

	list_expect(what, &got, want);
}

static void expect_tracked(const char *what, struct side *side, const struct list *want)
{
	struct list got;

	if (side->mt == NO_MT)
		return;
	got = harvest(side->mt);
	list_expect(what, &got, want);
}

/* Both are read at different times: what one has taken must not be missing for the other. */
static void check_both(struct side *side)
{
	struct list first = pages_of(side->logged, 0, 60, 3), second = pages_of(side->logged, 1, 60, 4);
	struct list beside = pages_of(side->unlogged, 2, 50, 5), all = { 0 }, none = { 0 };

	list_append(&all, &first);
	list_append(&all, &beside);
	write_pages(&side->vm->vcpus[0], &all, 1);
	expect_log("log after the first writes", side, &first);
	expect_tracked("list after the first writes", side, &all);

	/* After the log alone was read and armed: a second write is news for the log only. */
	write_pages(&side->vm->vcpus[0], &all, 2);
	expect_log("log, second", side, &first);
	write_pages(&side->vm->vcpus[1], &all, 3);
	expect_log("log, third", side, &first);
	expect_tracked("list over two of the log's periods", side, &all);

	/* The other way round. */
	write_pages(&side->vm->vcpus[0], &second, 4);
	expect_tracked("list, first of two periods", side, &second);
	write_pages(&side->vm->vcpus[0], &second, 5);
	expect_tracked("list, second of two periods", side, &second);
	expect_log("log over two of the list's periods", side, &second);

	expect_log("log without writes", side, &none);
	expect_tracked("list without writes", side, &none);
}

static void start_log_clean(struct side *side)
{
	/* With INITIALLY_SET the first log says that all is dirty. */
	if (side->manual & KVM_DIRTY_LOG_INITIALLY_SET)
		(void)read_bitmap(side);
}

static void run_both(unsigned int vm_flags, u64 manual, enum order order, bool tracked)
{
	struct side side;

	make_vm(&side, vm_flags);
	if (manual & ~mt_ioctl(side.vm->kvm, KVM_CHECK_EXTENSION, (void *)KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2))
		mt_skip("this KVM has no manual protection with flags %llu", (unsigned long long)manual);
	side.manual = manual;
	start(&side, order, tracked);
	start_log_clean(&side);
	check_both(&side);
	check_both(&side);
	if (!tracked)
		return;

	/* One ends, the other goes on. */
	CHECK_OK(mt_disable(side.mt));
	close(side.mt);
	side.mt = NO_MT;
	check_both(&side);
	side.mt = track(side.vm);
	check_both(&side);
	region_flags(side.vm, side.logged, 0);
	for (int round = 0; round < 2; round++) {
		struct list pages = pages_of(side.logged, 0, 90, 2);

		write_pages(&side.vm->vcpus[0], &pages, round);
		expect_tracked("list after logging ended", &side, &pages);
	}
}

static void plain_bitmap(void) { run_both(0, 0, LOG_FIRST, false); }
static void plain_manual(void) { run_both(0, 1, LOG_FIRST, false); }
static void plain_ring(void) { run_both(VM_RING, 0, LOG_FIRST, false); }
static void bitmap_then_mt(void) { run_both(0, 0, LOG_FIRST, true); }
static void mt_then_bitmap(void) { run_both(0, 0, TRACK_FIRST, true); }
static void manual_then_mt(void) { run_both(0, 1, LOG_FIRST, true); }
static void mt_then_manual(void) { run_both(0, 1, TRACK_FIRST, true); }
static void initially_set_then_mt(void) { run_both(0, 3, LOG_FIRST, true); }
static void mt_then_initially_set(void) { run_both(0, 3, TRACK_FIRST, true); }
static void ring_then_mt(void) { run_both(VM_RING, 0, LOG_FIRST, true); }
static void mt_then_ring(void) { run_both(VM_RING, 0, TRACK_FIRST, true); }

/* A VM that is only tracked must not fill its ring: the ring would force its vCPUs out for nothing. */
static void ring_stays_empty(void)
{
	struct list pages, none = { 0 }, got;
	struct side side;

	make_vm(&side, VM_RING);
	side.mt = track(side.vm);
	pages = pages_of(side.unlogged, 0, 200, 2);
	write_pages(&side.vm->vcpus[0], &pages, 1);
	got = read_rings(&side);
	list_expect("ring of a VM that is only tracked", &got, &none);
	expect_tracked("its list", &side, &pages);
}

static void write_in_thread(struct side *side, u64 round)
{
	struct list pages = pages_of(side->logged, round, 60, 3);
	u64 addresses[60];

	for (u32 i = 0; i < pages.n; i++)
		addresses[i] = pages.v[i] * PAGE;
	vcpu_write_list(&side->vm->vcpus[0], addresses, pages.n, round);
	vcpu_start(&side->vm->vcpus[0]);
}

/* Two tracked VMs, one logged by bitmap and one by ring, all at once. */
static void four_vms(void)
{
	struct side sides[4];

	for (int i = 0; i < 4; i++) {
		make_vm(&sides[i], i == 3 ? VM_RING : 0);
		if (i < 2)
			sides[i].mt = track(sides[i].vm);
		else
			region_flags(sides[i].vm, sides[i].logged, KVM_MEM_LOG_DIRTY_PAGES);
	}
	/* A threshold of one VM is no matter of another. */
	CHECK_OK(mt_threshold(sides[0].mt, PAGES));
	for (u64 round = 1; round <= 5; round++) {
		for (int i = 0; i < 4; i++)
			write_in_thread(&sides[i], round + i);
		for (int i = 0; i < 4; i++) {
			struct list pages = pages_of(sides[i].logged, round + i, 60, 3);

			vcpu_wait(&sides[i].vm->vcpus[0]);
			CHECK_EQ(sides[i].vm->vcpus[0].last, KVM_EXIT_IO, "exit reason");
			if (i < 2)
				expect_tracked("list of a tracked VM", &sides[i], &pages);
			else
				expect_log("log of a logged VM", &sides[i], &pages);
		}
	}
	/* One VM at its threshold, its vCPU forced out; the others go on. */
	CHECK_OK(mt_threshold(sides[0].mt, 10));
	for (int i = 0; i < 4; i++)
		write_in_thread(&sides[i], 7);
	for (int i = 0; i < 4; i++) {
		vcpu_wait(&sides[i].vm->vcpus[0]);
		CHECK_EQ(sides[i].vm->vcpus[0].last, i ? KVM_EXIT_IO : KVM_EXIT_MEMORY_TRACKING,
			 "exit reason");
	}
	close(sides[0].mt);
	vcpu_finish(&sides[0].vm->vcpus[0]);
}

static const struct mt_test tests[] = {
	MT_TEST(plain_bitmap, 30),
	MT_TEST(plain_manual, 30),
	MT_TEST(plain_ring, 30),
	MT_TEST(bitmap_then_mt, 60),
	MT_TEST(mt_then_bitmap, 60),
	MT_TEST(manual_then_mt, 60),
	MT_TEST(mt_then_manual, 60),
	MT_TEST(initially_set_then_mt, 60),
	MT_TEST(mt_then_initially_set, 60),
	MT_TEST(ring_then_mt, 60),
	MT_TEST(mt_then_ring, 60),
	MT_TEST(ring_stays_empty, 30),
	MT_TEST(four_vms, 60),
	MT_TESTS_END
};

int main(int argc, char **argv)
{
	return mt_main(argc, argv, tests);
}
