/* SPDX-License-Identifier: Apache-2.0 */
#define _GNU_SOURCE
#include "prefault.h"

#include <sys/ioctl.h>
#include <sys/resource.h>

#include "memory_map.h"
#include "threads.h"
#include "vm.h"

#define PIECE_PAGES 64u	/* what a takeover may have to wait for */
#define NICE 10

/* Linux 6.11, Documentation/virt/kvm/api.rst, 4.143. What was not mapped is left in `gpa` and `size`. */
struct pre_fault {
	uint64_t gpa, size, flags, padding[5];
};
#define PRE_FAULT_MEMORY _IOWR(KVMIO, 0xd5, struct pre_fault)
#define CAP_PRE_FAULT_MEMORY 236

/* How many pages from this one on; 0: none can be. */
static uint64_t map_some(struct ftd_vm *vm, uint64_t page)
{
	uint64_t end = page < LOW_PAGES ? min_u64(LOW_PAGES, vm->pages) : vm->pages;
	uint64_t wanted = min_u64(PIECE_PAGES, end - page) << FTD_PAGE_SHIFT;
	struct pre_fault piece = { .gpa = gfn_of(page) << FTD_PAGE_SHIFT, .size = wanted };

	if (ioctl(vm->vcpus[0].fd, PRE_FAULT_MEMORY, &piece) < 0)
		return 0;
	return (wanted - piece.size) >> FTD_PAGE_SHIFT;
}

static void *prefault_main(void *argument)
{
	struct prefault *prefault = argument;
	struct ftd_vm *vm = prefault->vm;
	uint64_t page = 0;

	setpriority(PRIO_PROCESS, 0, NICE);	/* Linux: of this thread */
	while (page < vm->pages && !atomic_load(&prefault->stop)) {
		uint64_t mapped = map_some(vm, page);

		if (!mapped)
			break;	/* no memory for it, or KVM cannot after all: it will map what the guest touches */
		page += mapped;
		count(&vm->counters->prefaulted_pages, mapped);
	}
	return NULL;
}

void prefault_start(struct prefault *prefault, struct ftd_vm *vm)
{
	prefault->vm = vm;
	if (ioctl(vm->fd, KVM_CHECK_EXTENSION, CAP_PRE_FAULT_MEMORY) > 0)
		prefault->started = !thread_start(&prefault->thread, "prefault", prefault_main, prefault, NULL);
}

void prefault_stop(struct prefault *prefault)
{
	if (!prefault->started)
		return;
	atomic_store(&prefault->stop, true);
	pthread_join(prefault->thread, NULL);
	prefault->started = false;
}
