// SPDX-License-Identifier: GPL-2.0-only
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "mt_api.h"
#include "mt_guest.h"
#include "mt_vm.h"

/* Offsets in system memory, with those of mt_vm.h. */
#define PDPT		0x2000
#define PAGE_DIRS	0x3000		/* four */
#define SMALL_TABLES	(SYS_LISTS + VCPUS_MAX * LIST_BYTES)

/* Present, writable, user; accessed and dirty, so that the processor need not set them. */
#define PTE_FLAGS	0x67ull
#define PTE_LARGE	0x80ull

static u64 *system_words(struct vm *vm, u64 offset)
{
	return (u64 *)(vm->system + offset);
}

static void map_identity(struct vm *vm)
{
	system_words(vm, SYS_PML4)[0] = PDPT | PTE_FLAGS;
	for (u64 i = 0; i < 4; i++)
		system_words(vm, PDPT)[i] = (PAGE_DIRS + i * PAGE) | PTE_FLAGS;
	for (u64 i = 0; i < 2048; i++)
		system_words(vm, PAGE_DIRS)[i] = (i << 21) | PTE_FLAGS | PTE_LARGE;
}

/* Replaces 2 MiB entries by tables of 4 KiB entries, before the vCPUs first run. */
static void map_small(struct vm *vm, u64 gpa, u64 pages)
{
	for (u64 large = gpa >> 21; large <= (gpa + pages * PAGE - 1) >> 21; large++) {
		u64 *directory = system_words(vm, PAGE_DIRS), *table = system_words(vm, vm->tables_next);

		if (!(directory[large] & PTE_LARGE))
			continue;
		CHECK(vm->tables_next + PAGE <= SYS_BYTES, "no room for 4 KiB page tables of %llu pages",
		      (unsigned long long)pages);
		for (u64 i = 0; i < 512; i++)
			table[i] = (large << 21) | (i << 12) | PTE_FLAGS;
		directory[large] = vm->tables_next | PTE_FLAGS;
		vm->tables_next += PAGE;
	}
}

int region_set(struct vm *vm, struct region *region)
{
	struct kvm_userspace_memory_region argument = {
		.slot = region->slot, .flags = region->flags, .guest_phys_addr = region->gpa,
		.memory_size = region->pages * PAGE, .userspace_addr = (uintptr_t)region->memory,
	};

	return mt_ioctl(vm->fd, KVM_SET_USER_MEMORY_REGION, &argument);
}

void region_flags(struct vm *vm, struct region *region, u32 flags)
{
	region->flags = flags;
	CHECK_OK(region_set(vm, region));
}

u8 *region_page(const struct region *region, u64 page)
{
	return region->memory + page * PAGE;
}

struct region *vm_region_at(struct vm *vm, u32 slot, u64 gpa, u64 pages, u32 flags, u8 *memory)
{
	struct region *region = &vm->regions[vm->region_count++];

	CHECK(vm->region_count <= REGIONS_MAX, "more than %d regions", REGIONS_MAX);
	*region = (struct region){ .slot = slot, .flags = flags, .gpa = gpa, .pages = pages, .memory = memory,
				   .memfd = -1 };
	if (mt_options.small_pages && vm->system)
		map_small(vm, gpa, pages);
	CHECK_OK(region_set(vm, region));
	return region;
}

struct region *vm_region(struct vm *vm, u32 slot, u64 gpa, u64 pages, u32 flags)
{
	int memfd = memfd_create("guest", MFD_CLOEXEC);
	struct region *region;
	u8 *memory;

	CHECK(memfd >= 0 && !ftruncate(memfd, pages * PAGE), "memfd of %llu pages: %s",
	      (unsigned long long)pages, strerror(errno));
	memory = mmap(NULL, pages * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, memfd, 0);
	CHECK(memory != MAP_FAILED, "mapping the memfd: %s", strerror(errno));
	/* All frames exist from the start: that memory is first touched is not what these tests are about. */
	memset(memory, 0, pages * PAGE);
	region = vm_region_at(vm, slot, gpa, pages, flags, memory);
	region->memfd = memfd;
	return region;
}

bool system_frame(u64 entry)
{
	return !KVM_MT_ENTRY_AS(entry) && KVM_MT_ENTRY_GFN(entry) < GFN(SYS_BYTES);
}

static void create_system_memory(struct vm *vm)
{
	u8 *memory = mmap(NULL, SYS_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	CHECK(memory != MAP_FAILED, "system memory: %s", strerror(errno));
	vm_region_at(vm, 0, 0, SYS_BYTES / PAGE, 0, memory);
	vm->system = memory;
	vm->tables_next = SMALL_TABLES;
	map_identity(vm);
	memcpy(memory + SYS_CODE, guest_code, guest_code_end - guest_code);
}

static void set_cpuid(struct vcpu *vcpu)
{
	const u32 entries = 256;
	struct kvm_cpuid2 *cpuid = calloc(1, sizeof(*cpuid) + entries * sizeof(cpuid->entries[0]));

	CHECK(cpuid, "no memory for CPUID");
	cpuid->nent = entries;
	CHECK_OK(mt_ioctl(vcpu->vm->kvm, KVM_GET_SUPPORTED_CPUID, cpuid));
	CHECK_OK(mt_ioctl(vcpu->fd, KVM_SET_CPUID2, cpuid));
	free(cpuid);
}

static void create_vcpu(struct vm *vm, unsigned int index)
{
	struct vcpu *vcpu = &vm->vcpus[index];
	int bytes = CHECK_OK(mt_ioctl(vm->kvm, KVM_GET_VCPU_MMAP_SIZE, NULL));

	vcpu->vm = vm;
	vcpu->index = index;
	vcpu->fd = CHECK_OK(mt_ioctl(vm->fd, KVM_CREATE_VCPU, (void *)(uintptr_t)index));
	vcpu->run = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, vcpu->fd, 0);
	CHECK(vcpu->run != MAP_FAILED, "mapping kvm_run: %s", strerror(errno));
	set_cpuid(vcpu);
	if (vm->flags & VM_RING) {
		vcpu->ring = mmap(NULL, RING_ENTRIES * sizeof(*vcpu->ring), PROT_READ | PROT_WRITE,
				  MAP_SHARED, vcpu->fd, KVM_DIRTY_LOG_PAGE_OFFSET * PAGE);
		CHECK(vcpu->ring != MAP_FAILED, "mapping the dirty ring: %s", strerror(errno));
	}
}

struct vm *vm_create(unsigned int vcpus, unsigned int flags)
{
	struct vm *vm = calloc(1, sizeof(*vm));

	CHECK(vm, "no memory for the VM");
	CHECK(vcpus <= VCPUS_MAX, "more than %d vCPUs", VCPUS_MAX);
	vm->kvm = open("/dev/kvm", O_RDWR | O_CLOEXEC);
	CHECK(vm->kvm >= 0, "opening /dev/kvm: %s", strerror(errno));
	vm->fd = CHECK_OK(mt_ioctl(vm->kvm, KVM_CREATE_VM, NULL));
	vm->flags = flags;
	vm->vcpu_count = vcpus;
	/* Needed by VMX alone, above all the memory that tests use. */
	mt_ioctl(vm->fd, KVM_SET_TSS_ADDR, (void *)0xfffbd000ul);
	if (flags & VM_IRQCHIP)
		CHECK_OK(mt_ioctl(vm->fd, KVM_CREATE_IRQCHIP, NULL));
	if (flags & VM_RING) {
		struct kvm_enable_cap cap = {
			.cap = KVM_CAP_DIRTY_LOG_RING,
			.args = { RING_ENTRIES * sizeof(struct kvm_dirty_gfn) },
		};

		CHECK_OK(mt_ioctl(vm->fd, KVM_ENABLE_CAP, &cap));
	}
	create_system_memory(vm);
	for (unsigned int i = 0; i < vcpus; i++)
		create_vcpu(vm, i);
	return vm;
}

static bool read_stat_at(int fd, const struct kvm_stats_header *header, const char *name, long long *value)
{
	size_t bytes = sizeof(struct kvm_stats_desc) + header->name_size;
	struct kvm_stats_desc *desc = calloc(1, bytes);
	bool found = false;

	CHECK(desc, "no memory for a statistics descriptor");
	for (u32 i = 0; i < header->num_desc && !found; i++) {
		if (pread(fd, desc, bytes, header->desc_offset + i * bytes) != (ssize_t)bytes)
			break;
		found = !strcmp((char *)desc + sizeof(*desc), name);
	}
	found = found && pread(fd, value, sizeof(u64), header->data_offset + desc->offset) == sizeof(u64);
	free(desc);
	return found;
}

long long vm_stat(struct vm *vm, const char *name)
{
	int fd = mt_ioctl(vm->fd, KVM_GET_STATS_FD, NULL);
	struct kvm_stats_header header;
	long long value = -1;

	if (fd < 0)
		return -1;
	if (pread(fd, &header, sizeof(header), 0) != sizeof(header) ||
	    !read_stat_at(fd, &header, name, &value))
		value = -1;
	close(fd);
	return value;
}
