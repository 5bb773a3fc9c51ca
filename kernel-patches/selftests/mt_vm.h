/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A small VM with bare guests in long mode.
 *
 *   0       system memory: page tables, code, address lists of the guest. The first
 *           page is zero: an I/O bitmap that allows all, where KVM overlooks IOPL
 *   1 GiB   test memory, region n at TEST_GPA(n)
 *   < 4 GiB identity mapping
 *
 * Guests live in registers: no stack, no variables. Only the page tables among
 * the system frames are ever reported (nested paging counts the processor's
 * walks as writes); lists that tests compare leave all system frames out.
 *
 * A setup step that fails ends the test, so nothing here returns an error.
 */
#ifndef MT_VM_H
#define MT_VM_H

#include <linux/kvm.h>
#include <pthread.h>
#include <stdatomic.h>

#include "harness.h"

#define PAGE		4096ull
#define VCPUS_MAX	8
#define REGIONS_MAX	16
#define SYS_BYTES	0x400000ull
#define TEST_GPA(n)	(0x40000000ull + (n) * 0x10000000ull)
#define GFN(gpa)	((gpa) / PAGE)
#define LIST_MAX	32768u		/* addresses that one vCPU's list holds */
#define LIST_BYTES	(LIST_MAX * sizeof(u64))
#define SYS_PML4	0x1000		/* addresses in system memory */
#define SYS_CODE	0x8000
#define SYS_LISTS	0x10000

/* vm_create() flags */
#define VM_IRQCHIP	1u	/* in-kernel: a halted vCPU blocks in KVM_RUN */
#define VM_RING		2u	/* dirty ring of RING_ENTRIES per vCPU */
#define RING_ENTRIES	8192u

struct region {
	u32 slot;	/* address space << 16 | id */
	u32 flags;	/* KVM_MEM_* */
	u64 gpa;
	u64 pages;
	u8 *memory;
	int memfd;	/* -1: anonymous */
};

struct vcpu {
	struct vm *vm;
	unsigned int index;
	int fd;
	struct kvm_run *run;
	pthread_t thread;
	atomic_bool stop;		/* asks the thread to end */
	atomic_bool ended;		/* KVM_RUN will not be called again by the thread */
	atomic_int last;		/* what vcpu_run() returned last */
	atomic_uint mt_exits;
	bool rerun;			/* enter again after KVM_EXIT_MEMORY_TRACKING */
	struct kvm_dirty_gfn *ring;
	u32 ring_next;
};

struct vm {
	int kvm;
	int fd;
	unsigned int flags;
	unsigned int vcpu_count;
	struct vcpu vcpus[VCPUS_MAX];
	unsigned int region_count;
	struct region regions[REGIONS_MAX];
	u8 *system;
	u64 tables_next;	/* system offset of the next free page for 4 KiB tables */
};

struct vm *vm_create(unsigned int vcpus, unsigned int flags);
/* Shared memory of a memfd, mapped for the guest at its own address. */
struct region *vm_region(struct vm *vm, u32 slot, u64 gpa, u64 pages, u32 flags);
/* As vm_region, over memory that the caller has. */
struct region *vm_region_at(struct vm *vm, u32 slot, u64 gpa, u64 pages, u32 flags, u8 *memory);
/* Tells KVM what stands in the region now; pages = 0 deletes the slot. Returns a negative errno. */
int region_set(struct vm *vm, struct region *region);
/* As region_set with other flags; ends the test on failure. */
void region_flags(struct vm *vm, struct region *region, u32 flags);
u8 *region_page(const struct region *region, u64 page);
/* A figure of KVM's binary statistics of the VM, or -1 when there is none of this name. */
long long vm_stat(struct vm *vm, const char *name);
/* The frame belongs to the VM's own system memory, not to a test. */
bool system_frame(u64 entry);

/* Points the vCPU at a program of mt_guest.h. privilege is 0 or 3. */
void vcpu_program(struct vcpu *vcpu, const void *program, const u64 arguments[5], int privilege);
/* Gives the vCPU a list of addresses to write value to. */
void vcpu_write_list(struct vcpu *vcpu, const u64 *addresses, u32 count, u64 value);
void vcpu_write_stride(struct vcpu *vcpu, u64 gpa, u64 count, u64 stride, u64 value);
/* One KVM_RUN; returns the exit reason or a negative errno. */
int vcpu_run(struct vcpu *vcpu);
/* Runs until the guest says that it is done; any other exit ends the test. */
void vcpu_finish(struct vcpu *vcpu);

/* Runs the vCPU in a thread until it is stopped, is done, or exits for a reason that is not for going on. */
void vcpu_start(struct vcpu *vcpu);
/* Waits until the thread has ended by itself. */
void vcpu_wait(struct vcpu *vcpu);
/* Forces the vCPU out and waits for its thread. */
void vcpu_stop(struct vcpu *vcpu);
/* True when the thread ends by itself within the time. */
bool vcpu_ends_within(struct vcpu *vcpu, unsigned int limit_ms);

u64 now_us(void);

#endif
