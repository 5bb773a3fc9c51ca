// SPDX-License-Identifier: GPL-2.0-only
#define _GNU_SOURCE
#include <stddef.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <linux/kvm_mt.h>
#include "sys.h"
#include "trackers.h"

#define RING_BYTES	(RING_ENTRIES * sizeof(struct kvm_dirty_gfn))
#define LISTS_BYTES	(2UL * LIST_MAX * sizeof(uint64_t))

const struct method methods[] = {
	{ "ring", TRACKER_RING, run_ring },
	{ "bitmap", TRACKER_BITMAP, run_bitmap },
	{ "bitmap-manual", TRACKER_BITMAP_MANUAL, run_bitmap_manual },
	{ "mt", TRACKER_MT, run_mt },
	{ "mt-fetch", TRACKER_MT, run_mt_fetch },
	{ "mt-2t", TRACKER_MT, run_mt_two_threads },
};
const unsigned int method_count = sizeof(methods) / sizeof(methods[0]);

static const int capabilities[TRACKER_KINDS] = {
	[TRACKER_RING] = KVM_CAP_DIRTY_LOG_RING,
	[TRACKER_BITMAP] = KVM_CAP_USER_MEMORY,
	[TRACKER_BITMAP_MANUAL] = KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2,
	[TRACKER_MT] = KVM_CAP_MEMORY_TRACKING,
};

int tracker_supported(int kvm_fd, enum tracker_kind kind)
{
	return ioctl(kvm_fd, KVM_CHECK_EXTENSION, capabilities[kind]) > 0;
}

void tracker_prepare(enum tracker_kind kind, int vm_fd)
{
	struct kvm_enable_cap ring = { .cap = KVM_CAP_DIRTY_LOG_RING, .args = { RING_BYTES } };
	struct kvm_enable_cap manual = { .cap = KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2,
					 .args = { KVM_DIRTY_LOG_MANUAL_PROTECT_ENABLE } };

	if (kind == TRACKER_RING)
		checked_ioctl(vm_fd, KVM_ENABLE_CAP, &ring, "enabling the dirty ring");
	if (kind == TRACKER_BITMAP_MANUAL)
		checked_ioctl(vm_fd, KVM_ENABLE_CAP, &manual, "enabling manual dirty-log protection");
}

static void start_mt(struct tracker *tracker)
{
	struct kvm_mt_create create = { .max_gfns = LIST_MAX };
	struct kvm_mt_enable enable = { .enable = 1 };

	tracker->mt_fd = checked_ioctl(tracker->vm->fd, KVM_MT_CREATE, &create, "KVM_MT_CREATE");
	tracker->mt_lists = map_shared(tracker->mt_fd, LISTS_BYTES, 0, PROT_READ, MAP_POPULATE, "both lists");
	checked_ioctl(tracker->mt_fd, KVM_MT_ENABLE, &enable, "KVM_MT_ENABLE");
}

void tracker_start(struct tracker *tracker, enum tracker_kind kind, struct vm *vm)
{
	*tracker = (struct tracker){ .kind = kind, .vm = vm, .mt_fd = -1 };
	if (kind == TRACKER_MT)
		start_mt(tracker);
	if (kind == TRACKER_BITMAP || kind == TRACKER_BITMAP_MANUAL)
		tracker->bitmap = allocate((vm->pages + 63) / 64 * 8, "dirty bitmap");
	if (kind == TRACKER_RING)
		for (unsigned int i = 0; i < vm->vcpu_count; i++)
			tracker->rings[i] = map_shared(vm->vcpus[i].fd, RING_BYTES,
						       KVM_DIRTY_LOG_PAGE_OFFSET * PAGE_BYTES,
						       PROT_READ | PROT_WRITE, MAP_POPULATE, "dirty ring");
}

void tracker_stop(struct tracker *tracker)
{
	if (tracker->kind == TRACKER_MT) {
		munmap((void *)tracker->mt_lists, LISTS_BYTES);
		close(tracker->mt_fd);
	}
	if (tracker->bitmap)
		munmap(tracker->bitmap, (tracker->vm->pages + 63) / 64 * 8);
	for (unsigned int i = 0; i < VCPUS_MAX; i++)
		if (tracker->rings[i])
			munmap(tracker->rings[i], RING_BYTES);
}
