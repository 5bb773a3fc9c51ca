// SPDX-License-Identifier: GPL-2.0-only
#include "machines.h"

void machine_create(struct machine *machine, int kvm_fd, enum tracker_kind kind, uint64_t bytes,
		    unsigned int vcpus)
{
	struct vm *vm = &machine->vm;
	uint32_t slot_flags = kind == TRACKER_MT ? 0 : KVM_MEM_LOG_DIRTY_PAGES;

	vm_create(vm, kvm_fd);
	tracker_prepare(kind, vm->fd);
	vm_add_memory(vm, bytes, slot_flags);
	vm_add_vcpus(vm, kvm_fd, vcpus);
	tracker_start(&machine->tracker, kind, vm);
}

void machine_destroy(struct machine *machine)
{
	tracker_stop(&machine->tracker);
	vm_destroy(&machine->vm);
}
