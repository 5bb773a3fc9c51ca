/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Mainline's dirty ring: KVM appends each page that a vCPU makes dirty to that
 * vCPU's ring, and forces the vCPU out when the ring is nearly full. That exit
 * is the dirty-page threshold.
 *
 * An entry passes 00 (free) -> 01 (dirty, KVM's store) -> 10 (harvested, ours)
 * -> 00 (KVM_RESET_DIRTY_RINGS). KVM publishes flags after offset and slot, so
 * flags are loaded with acquire; ours are stored with release, after the entry
 * was read (Documentation/virt/kvm/api.rst, 8.29).
 */
#include <sys/ioctl.h>
#include <sys/mman.h>

#include "memory_map.h"
#include "vm.h"

static bool ring_offered(int kvm_fd)
{
	return ioctl(kvm_fd, KVM_CHECK_EXTENSION, KVM_CAP_DIRTY_LOG_RING) > 0;
}

static int ring_prepare(struct ftd_vm *vm, ftd_error *error)
{
	struct kvm_enable_cap cap = { .cap = KVM_CAP_DIRTY_LOG_RING };
	int max = ioctl(vm->fd, KVM_CHECK_EXTENSION, KVM_CAP_DIRTY_LOG_RING);

	if (max <= 0)
		return ftd_fail(error, EOPNOTSUPP, "this kernel's KVM has no dirty ring (KVM_CAP_DIRTY_LOG_RING)");
	while (vm->ring_entries * sizeof(struct kvm_dirty_gfn) > (size_t)max)
		vm->ring_entries /= 2;
	cap.args[0] = vm->ring_entries * sizeof(struct kvm_dirty_gfn);
	if (ioctl(vm->fd, KVM_ENABLE_CAP, &cap) < 0)
		return ftd_fail(error, errno, "enabling a dirty ring of %u entries: %s", vm->ring_entries,
				strerror(errno));
	return 0;
}

static int ring_vcpu_prepare(struct vcpu *vcpu, ftd_error *error)
{
	size_t bytes = vcpu->vm->ring_entries * sizeof(struct kvm_dirty_gfn);
	void *ring = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, vcpu->fd,
			  KVM_DIRTY_LOG_PAGE_OFFSET * sysconf(_SC_PAGESIZE));

	if (ring == MAP_FAILED)
		return ftd_fail(error, errno, "mapping the dirty ring of vCPU %u: %s", vcpu->index, strerror(errno));
	vcpu->ring = ring;
	return 0;
}

static uint64_t entry_page(const struct ftd_vm *vm, const struct kvm_dirty_gfn *entry)
{
	uint64_t page = entry->offset + ((entry->slot & 0xffff) ? LOW_PAGES : 0);

	return page < vm->pages ? page : NO_PAGE;
}

/* Takes the next dirty entry of a vCPU's ring; NO_PAGE when there is none. */
static uint64_t ring_take(struct vcpu *vcpu)
{
	const struct ftd_vm *vm = vcpu->vm;

	for (;;) {
		struct kvm_dirty_gfn *entry = &vcpu->ring[vcpu->ring_next % vm->ring_entries];
		uint64_t page;

		if (!(__atomic_load_n(&entry->flags, __ATOMIC_ACQUIRE) & KVM_DIRTY_GFN_F_DIRTY))
			return NO_PAGE;
		page = entry_page(vm, entry);
		__atomic_store_n(&entry->flags, KVM_DIRTY_GFN_F_RESET, __ATOMIC_RELEASE);
		vcpu->ring_next++;
		vcpu->vm->ring_harvested++;
		if (page != NO_PAGE)
			return page;
	}
}

static int ring_harvest(struct ftd_vm *vm, struct page_list *list)
{
	uint64_t page;

	for (uint32_t i = 0; i < vm->vcpu_count; i++)
		while ((page = ring_take(&vm->vcpus[i])) != NO_PAGE)
			page_list_add(list, page);
	return 0;
}

/*
 * From Linux 6.16 on the call stops halfway when a signal is pending, such as a
 * timer's for the next stop. It reports no error, only that it came less far,
 * and of what it reports it leaves up to 64 pages un-armed: these would be
 * written unseen. So no signal may come between. Of those that cannot be
 * blocked SIGSTOP is left; where it shows, protection has to end.
 */
static int ring_rearm(struct ftd_vm *vm, const uint64_t *pages, uint32_t page_count)
{
	sigset_t all, before;
	int reset, error;

	(void)pages;
	(void)page_count;
	sigfillset(&all);
	pthread_sigmask(SIG_BLOCK, &all, &before);
	reset = ioctl(vm->fd, KVM_RESET_DIRTY_RINGS, 0);
	error = reset < 0 ? -errno : 0;
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	if (!error && (uint32_t)reset != vm->ring_harvested)
		error = -EINTR;
	vm->ring_harvested = 0;
	return error;
}

static int ring_collect(struct ftd_vm *vm, struct sync_bitmap *bitmap)
{
	uint64_t page;

	for (uint32_t i = 0; i < vm->vcpu_count; i++)
		while ((page = ring_take(&vm->vcpus[i])) != NO_PAGE)
			sync_mark(bitmap, page / 64, 1ull << (page % 64));
	return ring_rearm(vm, NULL, 0);
}

static int ring_begin(struct ftd_vm *vm, const struct tracker_limits *limits)
{
	struct page_list nowhere = { 0 };
	int error = vm_set_slots(vm, true);

	(void)limits;
	if (!error)
		error = ring_harvest(vm, &nowhere);
	return error ? error : ring_rearm(vm, NULL, 0);
}

static int ring_end(struct ftd_vm *vm)
{
	return vm_set_slots(vm, false);
}

static void ring_release(struct ftd_vm *vm)
{
	for (uint32_t i = 0; i < vm->vcpu_count; i++)
		if (vm->vcpus[i].ring)
			munmap(vm->vcpus[i].ring, vm->ring_entries * sizeof(struct kvm_dirty_gfn));
}

const struct tracker tracker_ring = {
	.name = "ring", .page_rearm = false,
	.offered = ring_offered, .prepare = ring_prepare, .vcpu_prepare = ring_vcpu_prepare,
	.begin = ring_begin, .harvest = ring_harvest, .rearm = ring_rearm, .collect = ring_collect,
	.end = ring_end, .release = ring_release,
};
