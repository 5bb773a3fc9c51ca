/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A machine of one memory slot. Many machines lie on the same memory and run in turns: all trackers see
 * the same pages. The slot begins at 4 GiB, where nothing of KVM's own lies in between:
 *
 *     first_gfn            + RESERVED_PAGES
 *     | page tables, code  | the pages that the guest writes ...
 */
#ifndef BENCH_VM_H
#define BENCH_VM_H

#include <linux/kvm.h>
#include <stddef.h>
#include <stdint.h>

#define VCPUS_MAX	2
#define RESERVED_PAGES	512

struct vcpu {
	int fd;
	struct kvm_run *run;
	size_t run_bytes;
	uint64_t guest_ns;	/* how long the last vm_run_all took this one */
};

struct vm {
	int fd;
	uint64_t first_gfn;
	uint64_t pages;		/* of the slot */
	unsigned int vcpu_count;
	struct vcpu vcpus[VCPUS_MAX];
};

/* What a guest program gets in its registers. */
struct guest_registers {
	uint64_t rip, rbx, rcx, rdx, rdi, r8, r9, r10;
};

int kvm_open(void);
/* Memory for the largest VM, with page tables and programs in it; sparse. All VMs begin at its start. */
void vm_memory_create(uint64_t bytes);
uint8_t *vm_memory(void);

void vm_create(struct vm *vm, int kvm_fd);
/* The one slot, number 0, with this many bytes for the guest to write and the reserved pages. */
void vm_add_memory(struct vm *vm, uint64_t bytes, uint32_t slot_flags);
void vm_add_vcpus(struct vm *vm, int kvm_fd, unsigned int count);
void vm_destroy(struct vm *vm);
void vm_set_registers(struct vm *vm, unsigned int vcpu, const struct guest_registers *registers);
/* Enters the guest once. Returns the exit reason, or KVM_EXIT_INTR after a signal. */
uint32_t vm_enter(struct vcpu *vcpu);
/* vCPU 0 on this thread, vCPU 1 on the helper. Returns when both are out. */
void vm_run_all(struct vm *vm);
/* Whether vm_run_all ended so for all vCPUs. One that died is born again; any other exit ends the program. */
int vm_all_left_for(struct vm *vm, uint32_t reason);

#endif
