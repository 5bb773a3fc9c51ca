/* SPDX-License-Identifier: Apache-2.0 */
#define _GNU_SOURCE
#include "vm.h"

#include <fcntl.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/mman.h>

#include "cpuid.h"
#include "disk.h"
#include "io.h"
#include "memory_map.h"
#include "tap.h"

#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23
#endif

/* Three pages that KVM needs on VMX hosts for real mode; above every device, below the firmware. */
#define TSS_ADDRESS 0xfffbd000ul
#define IDENTITY_MAP_ADDRESS 0xfffbc000ull

static int set_slot(struct ftd_vm *vm, uint32_t slot, uint64_t gpa, uint64_t offset, uint64_t bytes, bool log)
{
	struct kvm_userspace_memory_region region = {
		.slot = slot, .flags = log ? KVM_MEM_LOG_DIRTY_PAGES : 0, .guest_phys_addr = gpa,
		.memory_size = bytes, .userspace_addr = (uintptr_t)vm->memory + offset,
	};

	return ioctl(vm->fd, KVM_SET_USER_MEMORY_REGION, &region) < 0 ? -errno : 0;
}

int vm_set_slots(struct ftd_vm *vm, bool log)
{
	uint64_t low = LOW_PAGES << FTD_PAGE_SHIFT;
	int error = set_slot(vm, 0, 0, 0, min_u64(vm->memory_bytes, low), log);

	if (!error && vm->memory_bytes > low)
		error = set_slot(vm, 1, HIGH_GFN << FTD_PAGE_SHIFT, low, vm->memory_bytes - low, log);
	return error;
}

int vm_begin_tracking(struct ftd_vm *vm, const struct tracker_limits *limits)
{
	int error = vm->tracker->begin(vm, limits);

	if (error)
		vm->tracker->end(vm);
	else
		vm->logging = true;
	return error;
}

int vm_end_tracking(struct ftd_vm *vm)
{
	int error = vm->logging ? vm->tracker->end(vm) : 0;

	if (!error)
		vm->logging = false;
	return error;
}

static int make_memory(struct ftd_vm *vm, ftd_error *error)
{
	int result;

	vm->memory_fd = memfd_create("ftd-guest", MFD_CLOEXEC);
	if (vm->memory_fd < 0 || ftruncate(vm->memory_fd, (off_t)vm->memory_bytes) < 0)
		return ftd_fail(error, errno, "making guest memory of %lu MiB: %s", vm->memory_bytes >> 20,
				strerror(errno));
	vm->memory = mmap(NULL, vm->memory_bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, vm->memory_fd, 0);
	if (vm->memory == MAP_FAILED) {
		vm->memory = NULL;
		return ftd_fail(error, errno, "mapping guest memory: %s", strerror(errno));
	}
	/* Guest memory in a core dump helps nobody and leaks the guest. */
	madvise(vm->memory, vm->memory_bytes, MADV_DONTDUMP);
	result = vm_set_slots(vm, false);
	return result ? ftd_fail(error, -result, "giving KVM the guest's memory: %s", strerror(-result)) : 0;
}

/*
 * Allocates and maps all of the guest's memory. A standby does this before it
 * says that it is ready: memory that is short must be found out at enter, not
 * by the OOM killer in the middle of a failover; and a first synchronisation
 * into memory that is touched for the first time runs at a fraction of the
 * link's speed.
 */
int ftd_vm_reserve(ftd_vm *vm, ftd_error *error)
{
	const uint64_t step = 64u << 20;

	for (uint64_t at = 0; at < vm->memory_bytes; at += step) {
		uint64_t length = min_u64(step, vm->memory_bytes - at);

		if (fallocate(vm->memory_fd, 0, (off_t)at, (off_t)length) < 0)
			return ftd_fail(error, errno == ENOSPC ? ENOMEM : errno, "reserving guest memory, %lu of %lu MiB: %s",
					at >> 20, vm->memory_bytes >> 20, strerror(errno));
		/* EINVAL: before Linux 5.14. Then the pages are there, and are mapped when they are written. */
		if (madvise(vm->memory + at, length, MADV_POPULATE_WRITE) < 0 && errno != EINVAL)
			return ftd_fail(error, ENOMEM, "mapping guest memory, %lu of %lu MiB: %s", at >> 20,
					vm->memory_bytes >> 20, strerror(errno));
	}
	return 0;
}

int ftd_vm_processor(ftd_vm *vm, ftd_processor *processor, ftd_error *error)
{
	state_describe(vm, processor);
	return cpuid_get(&vm->vcpus[0], processor, error);
}

static int make_irqchip(struct ftd_vm *vm, ftd_error *error)
{
	struct kvm_pit_config pit = { .flags = KVM_PIT_SPEAKER_DUMMY };

	if (ioctl(vm->fd, KVM_CREATE_IRQCHIP, 0) < 0)
		return ftd_fail(error, errno, "creating the interrupt controllers: %s", strerror(errno));
	if (ioctl(vm->fd, KVM_CREATE_PIT2, &pit) < 0)
		return ftd_fail(error, errno, "creating the interval timer: %s", strerror(errno));
	return 0;
}

static int make_vcpu(struct ftd_vm *vm, uint32_t index, ftd_error *error)
{
	struct vcpu *vcpu = &vm->vcpus[index];
	int run_size = ioctl(vm->kvm_fd, KVM_GET_VCPU_MMAP_SIZE, 0);
	void *run;

	vcpu->vm = vm;
	vcpu->index = index;
	vcpu->fd = ioctl(vm->fd, KVM_CREATE_VCPU, index);
	if (vcpu->fd < 0 || run_size < (int)sizeof(struct kvm_run))
		return ftd_fail(error, errno, "creating vCPU %u: %s", index, strerror(errno));
	run = mmap(NULL, (size_t)run_size, PROT_READ | PROT_WRITE, MAP_SHARED, vcpu->fd, 0);
	if (run == MAP_FAILED)
		return ftd_fail(error, errno, "mapping vCPU %u: %s", index, strerror(errno));
	vcpu->run = run;
	vcpu->run_size = (size_t)run_size;
	/* Copied out at every exit: saves three ioctls of a checkpoint. */
	vcpu->run->kvm_valid_regs = KVM_SYNC_X86_REGS | KVM_SYNC_X86_SREGS | KVM_SYNC_X86_EVENTS;
	if (cpuid_set(vcpu, error) < 0)
		return -1;
	return vm->tracker->vcpu_prepare(vcpu, error);
}

static int check_config(const ftd_vm_config *config, ftd_error *error)
{
	if (!config->memory_bytes || config->memory_bytes % (2u << 20))
		return ftd_fail(error, EINVAL, "guest memory must be a multiple of 2 MiB");
	if (config->vcpus < 1 || config->vcpus > VCPUS_MAX)
		return ftd_fail(error, EINVAL, "1 to %d vCPUs are possible, not %u", VCPUS_MAX, config->vcpus);
	if (config->mtu > NET_MTU_MAX)
		return ftd_fail(error, EINVAL, "an MTU is at most %u, not %u", NET_MTU_MAX, config->mtu);
	if (!tracker_by_id(config->tracker))
		return ftd_fail(error, EINVAL, "no tracker has the number %u", config->tracker);
	return 0;
}

/* A power of two, so that all rings together hold about one arena; KVM wants at least a page, and headroom for PML. */
static uint32_t ring_entries_for(const ftd_vm_config *config)
{
	uint32_t entries = 1024;

	while (entries * 2 * config->vcpus <= config->epoch_pages_max && entries < 65536)
		entries *= 2;
	return entries;
}

static int open_kvm(struct ftd_vm *vm, ftd_error *error)
{
	vm->kvm_fd = open("/dev/kvm", O_RDWR | O_CLOEXEC);
	if (vm->kvm_fd < 0)
		return ftd_fail(error, errno, "opening /dev/kvm: %s", strerror(errno));
	vm->fd = ioctl(vm->kvm_fd, KVM_CREATE_VM, 0);
	if (vm->fd < 0)
		return ftd_fail(error, errno, "creating a virtual machine: %s", strerror(errno));
	if ((ioctl(vm->fd, KVM_CHECK_EXTENSION, KVM_CAP_SYNC_REGS) & KVM_SYNC_X86_VALID_FIELDS) !=
		    KVM_SYNC_X86_VALID_FIELDS ||
	    ioctl(vm->fd, KVM_CHECK_EXTENSION, KVM_CAP_IMMEDIATE_EXIT) <= 0)
		return ftd_fail(error, ENOTSUP, "KVM lacks KVM_CAP_SYNC_REGS or KVM_CAP_IMMEDIATE_EXIT");
	if (ioctl(vm->fd, KVM_CHECK_EXTENSION, KVM_CAP_SET_TSS_ADDR) > 0) {
		uint64_t identity_map = IDENTITY_MAP_ADDRESS;

		ioctl(vm->fd, KVM_SET_IDENTITY_MAP_ADDR, &identity_map);
		ioctl(vm->fd, KVM_SET_TSS_ADDR, TSS_ADDRESS);
	}
	return 0;
}

static int build(struct ftd_vm *vm, ftd_error *error)
{
	if (open_kvm(vm, error) < 0 || vm->tracker->prepare(vm, error) < 0 || make_memory(vm, error) < 0)
		return -1;
	if (vm->irqchip && make_irqchip(vm, error) < 0)
		return -1;
	for (uint32_t i = 0; i < vm->vcpu_count; i++)
		if (make_vcpu(vm, i, error) < 0)
			return -1;
	vm->counters = reserve_pages(sizeof(*vm->counters));
	vm->marked_bitmap = reserve_pages((vm->pages + 63) / 64 * 8);
	if (!vm->counters || !vm->marked_bitmap || output_open(&vm->output) < 0)
		return ftd_fail(error, ENOMEM, "no memory for counters and output rings");
	if (events_open(&vm->events) < 0)
		return ftd_fail(error, errno, "making an eventfd: %s", strerror(errno));
	return state_prepare(vm, error);
}

ftd_vm *ftd_vm_create(const ftd_vm_config *config, ftd_error *error)
{
	struct ftd_vm *vm;

	if (check_config(config, error) < 0)
		return NULL;
	vm = calloc(1, sizeof(*vm));
	if (!vm) {
		ftd_fail(error, ENOMEM, "no memory for a VM");
		return NULL;
	}
	vm->kvm_fd = vm->fd = vm->memory_fd = vm->events.fd = vm->net.tap_fd = -1;
	for (uint32_t i = 0; i < VCPUS_MAX; i++) {
		vm->vcpus[i].fd = -1;
		atomic_store(&vm->vcpus[i].processor, -1);
	}
	vm->memory_bytes = config->memory_bytes;
	vm->pages = config->memory_bytes >> FTD_PAGE_SHIFT;
	vm->vcpu_count = config->vcpus;
	vm->virtio[VIRTIO_CONSOLE].kind = &console_kind;
	if (config->mtu)
		tap_make_device(vm, config);
	vm->irqchip = config->irqchip;
	vm->tracker = tracker_by_id(config->tracker);
	vm->ring_entries = ring_entries_for(config);
	pthread_mutex_init(&vm->control, NULL);
	pthread_mutex_init(&vm->parking, NULL);
	pthread_mutex_init(&vm->devices, NULL);
	pthread_cond_init(&vm->command_done, NULL);
	pthread_cond_init(&vm->unpark, NULL);
	if (disk_open(vm, config, error) < 0 || build(vm, error) < 0) {
		ftd_vm_destroy(vm);
		return NULL;
	}
	return vm;
}

static void close_fd(int fd)
{
	if (fd >= 0)
		close(fd);
}

void ftd_vm_destroy(ftd_vm *vm)
{
	if (!vm)
		return;
	ftd_vm_kill(vm);
	disk_close(vm);
	state_release(vm);
	output_close(&vm->output);
	vm->tracker->release(vm);
	for (uint32_t i = 0; i < vm->vcpu_count; i++) {
		if (vm->vcpus[i].run)
			munmap(vm->vcpus[i].run, vm->vcpus[i].run_size);
		close_fd(vm->vcpus[i].fd);
	}
	if (vm->memory)
		munmap(vm->memory, vm->memory_bytes);
	release_pages(vm->marked_bitmap, (vm->pages + 63) / 64 * 8);
	release_pages(vm->counters, sizeof(*vm->counters));
	events_close(&vm->events);
	close_fd(vm->net.tap_fd);
	close_fd(vm->memory_fd);
	close_fd(vm->fd);
	close_fd(vm->kvm_fd);
	pthread_mutex_destroy(&vm->control);
	pthread_mutex_destroy(&vm->parking);
	pthread_mutex_destroy(&vm->devices);
	pthread_cond_destroy(&vm->command_done);
	pthread_cond_destroy(&vm->unpark);
	free(vm);
}

void *vm_guest(struct ftd_vm *vm, uint64_t gpa, uint64_t length)
{
	uint64_t page = page_of(gpa >> FTD_PAGE_SHIFT, vm->pages);
	uint64_t offset, end;

	if (page == NO_PAGE)
		return NULL;
	offset = (page << FTD_PAGE_SHIFT) + gpa % FTD_PAGE_SIZE;
	end = page < LOW_PAGES ? min_u64(vm->pages, LOW_PAGES) << FTD_PAGE_SHIFT : vm->memory_bytes;
	return length <= end - offset ? vm->memory + offset : NULL;
}

void *vm_guest_for_write(struct ftd_vm *vm, uint64_t gpa, uint64_t length)
{
	char *address = vm_guest(vm, gpa, length);
	uint64_t first, last;

	if (!address || !length || !vm->marking)
		return address;
	first = (uint64_t)(address - vm->memory) >> FTD_PAGE_SHIFT;
	last = ((uint64_t)(address - vm->memory) + length - 1) >> FTD_PAGE_SHIFT;
	if (last - first >= vm_mark_room(vm))
		return NULL;
	for (uint64_t page = first; page <= last; page++) {
		uint64_t bit = 1ull << (page % 64);

		if (!(vm->marked_bitmap[page / 64] & bit)) {
			vm->marked_bitmap[page / 64] |= bit;
			vm->marked[vm->marked_count++] = page;
		}
	}
	return address;
}

int ftd_vm_virtio_irq(ftd_vm *vm, uint32_t index)
{
	if (index >= VIRTIO_DEVICES)
		return -1;
	return vm->virtio[index].kind ? (int)vm->virtio[index].kind->irq : 0;
}

void *ftd_vm_memory(ftd_vm *vm)
{
	return vm->memory;
}

int ftd_vm_memory_fd(ftd_vm *vm)
{
	return vm->memory_fd;
}

ftd_counters *ftd_vm_counters(ftd_vm *vm)
{
	return vm->counters;
}

int ftd_vm_event_fd(ftd_vm *vm)
{
	return vm->events.fd;
}

int ftd_vm_next_event(ftd_vm *vm, ftd_event *event)
{
	return events_take(&vm->events, event);
}
