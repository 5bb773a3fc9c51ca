// SPDX-License-Identifier: GPL-2.0-only
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "guest.h"
#include "helper.h"
#include "sys.h"
#include "vm.h"

#define GIB		(1UL << 30)
#define LARGE_PAGE	(2UL << 20)
#define SLOT_START	(4 * GIB)
#define PML4		0x0000UL
#define PDPT		0x1000UL
#define DIRECTORIES	0x2000UL
#define CODE		0x10000UL
#define TSS		0x30000UL	/* all zero: permits all ports */
#define TABLE		7	/* present, writable, CPL 3 */
#define LARGE		0x80
#define ACCESSED_DIRTY	0x60
#define CPUID_ENTRIES	256

static struct {
	uint8_t *bytes;
	uint64_t size;
} memory;

int kvm_open(void)
{
	int fd = open("/dev/kvm", O_RDWR | O_CLOEXEC);

	if (fd < 0)
		die("opening /dev/kvm");
	return fd;
}

static void put_word(uint64_t offset, uint64_t value)
{
	memcpy(memory.bytes + offset, &value, sizeof(value));
}

/* One to one, in 2 MiB pages that CPL 3 may write; accessed and dirty already: walks write less. */
static void map_guest_memory(void)
{
	uint64_t end = SLOT_START + memory.size;

	put_word(PML4, (SLOT_START + PDPT) | TABLE | ACCESSED_DIRTY);
	for (uint64_t address = SLOT_START; address < end; address += LARGE_PAGE) {
		uint64_t directory = DIRECTORIES + (address - SLOT_START) / GIB * PAGE_BYTES;

		put_word(PDPT + address / GIB * 8, (SLOT_START + directory) | TABLE | ACCESSED_DIRTY);
		put_word(directory + address % GIB / LARGE_PAGE * 8,
			 address | LARGE | TABLE | ACCESSED_DIRTY);
	}
}

void vm_memory_create(uint64_t bytes)
{
	int fd = memfd_create("mt-bench-guest", MFD_CLOEXEC);

	memory.size = bytes + RESERVED_PAGES * PAGE_BYTES;
	if (fd < 0 || ftruncate(fd, (off_t)memory.size))
		die("guest memory of %lu bytes", memory.size);
	memory.bytes = map_shared(fd, memory.size, 0, PROT_READ | PROT_WRITE, 0, "guest memory");
	close(fd);
	map_guest_memory();
	memcpy(memory.bytes + CODE, guest_start, (size_t)(guest_end - guest_start));
}

uint8_t *vm_memory(void)
{
	return memory.bytes;
}

static void set_cpuid(int kvm_fd, int vcpu_fd)
{
	struct kvm_cpuid2 *cpuid = calloc(1, sizeof(*cpuid) + CPUID_ENTRIES * sizeof(cpuid->entries[0]));

	if (!cpuid)
		die("memory for CPUID");
	cpuid->nent = CPUID_ENTRIES;
	checked_ioctl(kvm_fd, KVM_GET_SUPPORTED_CPUID, cpuid, "KVM_GET_SUPPORTED_CPUID");
	checked_ioctl(vcpu_fd, KVM_SET_CPUID2, cpuid, "KVM_SET_CPUID2");
	free(cpuid);
}

/* Straight into long mode at CPL 3: some hosts interpret ring 0. */
static void set_long_mode(int vcpu_fd)
{
	struct kvm_segment code = { .limit = 0xffffffff, .selector = 0x33, .type = 11, .present = 1, .dpl = 3,
				    .s = 1, .l = 1, .g = 1 };
	struct kvm_segment data = { .limit = 0xffffffff, .selector = 0x2b, .type = 3, .present = 1, .dpl = 3,
				    .db = 1, .s = 1, .g = 1 };
	struct kvm_sregs sregs;

	checked_ioctl(vcpu_fd, KVM_GET_SREGS, &sregs, "KVM_GET_SREGS");
	sregs.cs = code;
	sregs.ds = sregs.es = sregs.fs = sregs.gs = sregs.ss = data;
	sregs.tr.base = SLOT_START + TSS;	/* some hosts forget the IOPL, and ask the TSS */
	sregs.cr0 = 0x80000001;	/* PE, PG */
	sregs.cr3 = SLOT_START + PML4;
	sregs.cr4 = 0x620;	/* PAE, OSFXSR, OSXMMEXCPT */
	sregs.efer = 0x500;	/* LME, LMA */
	checked_ioctl(vcpu_fd, KVM_SET_SREGS, &sregs, "KVM_SET_SREGS");
}

void vm_create(struct vm *vm, int kvm_fd)
{
	*vm = (struct vm){ .first_gfn = SLOT_START / PAGE_BYTES };
	vm->fd = checked_ioctl(kvm_fd, KVM_CREATE_VM, NULL, "KVM_CREATE_VM");
	checked_ioctl(vm->fd, KVM_SET_TSS_ADDR, (void *)0xfffbd000UL, "KVM_SET_TSS_ADDR");
}

void vm_add_memory(struct vm *vm, uint64_t bytes, uint32_t slot_flags)
{
	struct kvm_userspace_memory_region slot = {
		.flags = slot_flags,
		.guest_phys_addr = SLOT_START,
		.memory_size = bytes + RESERVED_PAGES * PAGE_BYTES,
		.userspace_addr = (uint64_t)memory.bytes,
	};

	vm->pages = slot.memory_size / PAGE_BYTES;
	checked_ioctl(vm->fd, KVM_SET_USER_MEMORY_REGION, &slot, "KVM_SET_USER_MEMORY_REGION");
}

static void add_vcpu(struct vm *vm, int kvm_fd, unsigned int index)
{
	struct vcpu *vcpu = &vm->vcpus[index];

	vcpu->fd = checked_ioctl(vm->fd, KVM_CREATE_VCPU, (void *)(uintptr_t)index, "KVM_CREATE_VCPU");
	vcpu->run_bytes = (size_t)checked_ioctl(kvm_fd, KVM_GET_VCPU_MMAP_SIZE, NULL,
						"KVM_GET_VCPU_MMAP_SIZE");
	vcpu->run = map_shared(vcpu->fd, vcpu->run_bytes, 0, PROT_READ | PROT_WRITE, MAP_POPULATE, "kvm_run");
	set_cpuid(kvm_fd, vcpu->fd);
	set_long_mode(vcpu->fd);
}

void vm_add_vcpus(struct vm *vm, int kvm_fd, unsigned int count)
{
	vm->vcpu_count = count;
	for (unsigned int i = 0; i < count; i++)
		add_vcpu(vm, kvm_fd, i);
}

void vm_destroy(struct vm *vm)
{
	for (unsigned int i = 0; i < vm->vcpu_count; i++) {
		munmap(vm->vcpus[i].run, vm->vcpus[i].run_bytes);
		close(vm->vcpus[i].fd);
	}
	close(vm->fd);
}

void vm_set_registers(struct vm *vm, unsigned int vcpu, const struct guest_registers *wanted)
{
	struct kvm_regs regs = {
		.rip = SLOT_START + CODE + wanted->rip,
		.rflags = 0x3002,	/* IOPL 3, for port I/O */
		.rbx = wanted->rbx, .rcx = wanted->rcx, .rdx = wanted->rdx, .rdi = wanted->rdi,
		.r8 = wanted->r8, .r9 = wanted->r9, .r10 = wanted->r10,
	};

	checked_ioctl(vm->vcpus[vcpu].fd, KVM_SET_REGS, &regs, "KVM_SET_REGS");
}

uint32_t vm_enter(struct vcpu *vcpu)
{
	if (!ioctl(vcpu->fd, KVM_RUN, NULL))
		return vcpu->run->exit_reason;
	if (errno != EINTR)
		die("KVM_RUN");
	return KVM_EXIT_INTR;
}

static void run_vcpu(void *argument)
{
	struct vcpu *vcpu = argument;
	uint64_t start_ns = now_ns();

	vm_enter(vcpu);
	vcpu->guest_ns = now_ns() - start_ns;
}

void vm_run_all(struct vm *vm)
{
	if (vm->vcpu_count == 2)
		helper_begin(run_vcpu, &vm->vcpus[1]);
	run_vcpu(&vm->vcpus[0]);
	if (vm->vcpu_count == 2)
		helper_finish();
}

int vm_all_left_for(struct vm *vm, uint32_t reason)
{
	int all = 1;

	for (unsigned int i = 0; i < vm->vcpu_count; i++) {
		uint32_t found = vm->vcpus[i].run->exit_reason;

		if (found == reason)
			continue;
		if (found != KVM_EXIT_SHUTDOWN)
			die("vCPU %u left the guest for reason %u, not %u", i, found, reason);
		set_long_mode(vm->vcpus[i].fd);
		all = 0;
	}
	return all;
}
