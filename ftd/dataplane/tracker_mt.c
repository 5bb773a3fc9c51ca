/* SPDX-License-Identifier: Apache-2.0 */
/*
 * KVM memory tracking (kernel-patches/): the kernel keeps one list of written
 * frames for the whole VM and one bit a page, so that a frame is listed once.
 * The list is mapped: a checkpoint takes one call to seal it and one to re-arm.
 *
 * What is sealed and not re-armed is *released*: it stays writable, and KVM
 * reports it no more. The contract wants such a page reported each time, so
 * they are remembered here, as `open` pages. Their number is bounded: only the
 * hot set is left un-armed.
 *
 * The threshold is one arena, less what vCPUs may add past it; or less, so
 * that with the whole hot set an epoch fits its parts. KVM then lets no vCPU
 * in until the list is sealed, so the list does not overflow. Should it do so
 * all the same, protection ends with FTD_LOST_OVERFLOW: which pages are missing
 * is not known, and all of memory fits no epoch.
 */
#include <linux/kvm_mt.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/mman.h>

#include "memory_map.h"
#include "vm.h"

/* A multiple of what a page holds, so that the second list begins on a page, too. */
#define LIST_STEP 512u
#define ENTRY_SPINS 1000000u

/* With fewer entries, waking the others costs more than they save. */
#define SHARED_FROM 2048u

static const struct share_rule number_rule = { .worth_from = SHARED_FROM, .piece = 512 };
static const struct share_rule each_rule = { .worth_from = 2, .piece = 1 };

struct mt {
	int fd;			/* -1: not begun */
	uint32_t list_max;	/* entries of each of the kernel's two lists */
	const uint64_t *lists;	/* these, mapped one after the other */
	/* The sealed list */
	uint64_t epoch;
	const uint64_t *sealed;
	uint32_t sealed_count;
	/* Reported and not re-armed, in the order of the harvest; those from `fresh` on are of the sealed list. */
	struct page_list open;
	uint32_t fresh;
	uint64_t *entries;	/* what is re-armed by number */
	uint32_t max;		/* of `open` and `entries` */
};

static bool mt_offered(int kvm_fd)
{
	return ioctl(kvm_fd, KVM_CHECK_EXTENSION, KVM_CAP_MEMORY_TRACKING) > 0;
}

static int mt_prepare(struct ftd_vm *vm, ftd_error *error)
{
	if (!mt_offered(vm->fd))
		return ftd_fail(error, EOPNOTSUPP, "this kernel's KVM has no memory tracking; kernel-patches/README.md "
				"says how to build and load one that has");
	vm->mt = calloc(1, sizeof(*vm->mt));
	if (!vm->mt)
		return ftd_fail(error, ENOMEM, "no memory for the tracker");
	vm->mt->fd = -1;
	return 0;
}

static int mt_vcpu_prepare(struct vcpu *vcpu, ftd_error *error)
{
	(void)vcpu;
	(void)error;
	return 0;
}

/* ---- begin and end: the only places that allocate ---- */

static int make_lists(struct mt *mt, uint32_t threshold, uint32_t overshoot, uint32_t unarmed)
{
	mt->list_max = (threshold + overshoot + LIST_STEP - 1) / LIST_STEP * LIST_STEP;
	mt->max = mt->list_max + unarmed;
	mt->open = (struct page_list){ .pages = reserve_pages(mt->max * sizeof(uint64_t)), .max = mt->max };
	mt->entries = reserve_pages(mt->max * sizeof(uint64_t));
	return mt->open.pages && mt->entries ? 0 : -ENOMEM;
}

static int create(struct ftd_vm *vm)
{
	struct mt *mt = vm->mt;
	struct kvm_mt_create what = { .max_gfns = mt->list_max };
	void *lists;

	mt->fd = ioctl(vm->fd, KVM_MT_CREATE, &what);
	if (mt->fd < 0)
		return -errno;
	lists = mmap(NULL, 2 * mt->list_max * sizeof(uint64_t), PROT_READ, MAP_SHARED | MAP_POPULATE, mt->fd, 0);
	if (lists == MAP_FAILED)
		return -errno;
	mt->lists = lists;
	return 0;
}

static int mt_begin(struct ftd_vm *vm, const struct tracker_limits *limits)
{
	uint32_t pages = (uint32_t)min_u64(limits->arena, limits->epoch - limits->unarmed);
	/* Without a page-modification log each vCPU adds one page at most: the log's overshoot is for the list only. */
	struct kvm_mt_threshold threshold = { .threshold = pages - vm->vcpu_count };
	struct kvm_mt_enable enable = { .enable = 1 };
	int error = make_lists(vm->mt, threshold.threshold, OVERSHOOT_PAGES * vm->vcpu_count, limits->unarmed);

	if (!error)
		error = create(vm);
	if (!error && ioctl(vm->mt->fd, KVM_MT_ENABLE, &enable) < 0)
		error = -errno;
	if (!error && ioctl(vm->mt->fd, KVM_MT_THRESHOLD, &threshold) < 0)
		error = -errno;
	return error;
}

static int mt_end(struct ftd_vm *vm)
{
	struct mt *mt = vm->mt;
	struct kvm_mt_enable disable = { .enable = 0 };
	int error = 0;

	/* ENXIO: begin did not get that far. */
	if (mt->fd >= 0 && ioctl(mt->fd, KVM_MT_ENABLE, &disable) < 0 && errno != ENXIO)
		error = -errno;
	if (mt->lists)
		munmap((void *)(uintptr_t)mt->lists, 2 * mt->list_max * sizeof(uint64_t));
	if (mt->fd >= 0)
		close(mt->fd);
	release_pages(mt->open.pages, mt->max * sizeof(uint64_t));
	release_pages(mt->entries, mt->max * sizeof(uint64_t));
	*mt = (struct mt){ .fd = -1 };
	return error;
}

static void mt_release(struct ftd_vm *vm)
{
	if (!vm->mt)
		return;
	mt_end(vm);
	free(vm->mt);
	vm->mt = NULL;
}

/* ---- harvest ---- */

static int seal_list(struct mt *mt, uint32_t flags)
{
	struct kvm_mt_prepare prepare = { .flags = KVM_MT_PREPARE_RELEASE | flags };

	if (ioctl(mt->fd, KVM_MT_PREPARE, &prepare) < 0)
		return -errno;
	if (prepare.status & KVM_MT_STATUS_OVERFLOW)
		return -EOVERFLOW;
	if (prepare.count > mt->list_max || prepare.list > 1)
		return -EPROTO;
	mt->epoch = prepare.epoch;
	mt->sealed = mt->lists + (size_t)prepare.list * mt->list_max;
	mt->sealed_count = prepare.count;
	return 0;
}

/* NO_PAGE: not RAM of ours. An entry that never becomes valid would be a page lost: 0 or -EIO. */
static int sealed_page(const struct ftd_vm *vm, uint32_t index, uint64_t *page)
{
	for (uint32_t i = 0; i < ENTRY_SPINS; i++) {
		/* Acquire: whoever wrote the entry had written the page. */
		uint64_t entry = __atomic_load_n(&vm->mt->sealed[index], __ATOMIC_ACQUIRE);

		if (entry & KVM_MT_ENTRY_VALID) {
			*page = page_of(KVM_MT_ENTRY_GFN(entry), vm->pages);
			return 0;
		}
		__builtin_ia32_pause();
	}
	return -EIO;
}

static int mt_harvest(struct ftd_vm *vm, struct page_list *list)
{
	struct mt *mt = vm->mt;
	int error = seal_list(mt, 0);

	mt->fresh = mt->open.count;
	for (uint32_t i = 0; i < mt->sealed_count && !error; i++) {
		uint64_t page;

		error = sealed_page(vm, i, &page);
		if (!error && page != NO_PAGE)
			page_list_add(&mt->open, page);
	}
	if (error)
		return error;
	for (uint32_t i = 0; i < mt->open.count; i++)
		page_list_add(list, mt->open.pages[i]);
	return mt->open.overflow ? -EOVERFLOW : 0;
}

/* ---- re-arm ---- */

struct rearm {
	struct kvm_mt_rearm what;
	_Atomic int error;
};

static void rearm_one(struct ftd_vm *vm, struct rearm *rearm, struct kvm_mt_rearm piece)
{
	if (ioctl(vm->mt->fd, KVM_MT_REARM, &piece) < 0)
		atomic_store(&rearm->error, -errno);
}

/* KVM deals the pages of the sealed list out, so that those of one page table are one thread's. */
static void rearm_shares(struct ftd_vm *vm, void *argument, uint32_t first, uint32_t n)
{
	struct rearm *rearm = argument;
	struct kvm_mt_rearm piece = rearm->what;

	for (piece.start = first; piece.start < first + n; piece.start++)
		rearm_one(vm, rearm, piece);
}

static int rearm_sealed(struct ftd_vm *vm)
{
	uint32_t shares = vm->mt->sealed_count >= SHARED_FROM ? vm->vcpu_count : 1;
	struct rearm rearm = { .what = { .epoch = vm->mt->epoch, .count = shares, .flags = KVM_MT_REARM_SHARE } };

	share_post(vm, each_rule, shares, rearm_shares, &rearm);
	return atomic_load(&rearm.error);
}

static void rearm_numbers(struct ftd_vm *vm, void *argument, uint32_t first, uint32_t n)
{
	struct rearm *rearm = argument;
	struct kvm_mt_rearm piece = rearm->what;

	piece.gfns += first * sizeof(uint64_t);
	piece.count = n;
	rearm_one(vm, rearm, piece);
}

static int rearm_by_number(struct ftd_vm *vm, const uint64_t *pages, uint32_t page_count)
{
	struct rearm rearm = { .what = { .gfns = (uintptr_t)vm->mt->entries, .flags = KVM_MT_REARM_GFNS } };

	for (uint32_t i = 0; i < page_count; i++)
		vm->mt->entries[i] = KVM_MT_ENTRY_MAKE(0, gfn_of(pages[i]));
	share_post(vm, number_rule, page_count, rearm_numbers, &rearm);
	return atomic_load(&rearm.error);
}

/* Takes `pages` out of the open ones; both are in the order of the harvest. How many: all, or the order is broken. */
static uint32_t close_pages(struct page_list *open, const uint64_t *pages, uint32_t page_count)
{
	uint32_t kept = 0, closed = 0;

	for (uint32_t i = 0; i < open->count; i++) {
		if (closed < page_count && open->pages[i] == pages[closed])
			closed++;
		else
			open->pages[kept++] = open->pages[i];
	}
	open->count = kept;
	return closed;
}

static int mt_rearm(struct ftd_vm *vm, const uint64_t *pages, uint32_t page_count)
{
	struct mt *mt = vm->mt;
	uint32_t fresh = mt->open.count - mt->fresh;
	/* Pages that were open before stand first: if the first fresh one comes first, none of them is in. */
	bool all_sealed = fresh && page_count == fresh && pages[0] == mt->open.pages[mt->fresh];

	if (close_pages(&mt->open, pages, page_count) != page_count)
		return -EINVAL;
	mt->fresh = mt->open.count;
	return all_sealed ? rearm_sealed(vm) : rearm_by_number(vm, pages, page_count);
}

/* With all vCPUs out nothing is written before it is read: sealed and re-armed in one call. */
static int mt_collect(struct ftd_vm *vm, struct sync_bitmap *bitmap)
{
	int error = seal_list(vm->mt, KVM_MT_PREPARE_REARM);

	for (uint32_t i = 0; i < vm->mt->sealed_count && !error; i++) {
		uint64_t page;

		error = sealed_page(vm, i, &page);
		if (!error && page != NO_PAGE)
			sync_mark(bitmap, page / 64, 1ull << (page % 64));
	}
	return error;
}

const struct tracker tracker_mt = {
	.name = "mt", .page_rearm = true,
	.offered = mt_offered, .prepare = mt_prepare, .vcpu_prepare = mt_vcpu_prepare,
	.begin = mt_begin, .harvest = mt_harvest, .rearm = mt_rearm, .collect = mt_collect,
	.end = mt_end, .release = mt_release,
};
