/* SPDX-License-Identifier: Apache-2.0 */
#define _GNU_SOURCE
#include "mt_kernel.h"

#include <linux/kvm.h>
#include <linux/kvm_mt.h>
#include <stdarg.h>
#include <sys/mman.h>

#include "check.h"
#include "memory_map.h"

int __wrap_ioctl(int fd, unsigned long request, ...);

struct mt_kernel mt_kernel = { .fd = -1 };

uint64_t mt_page(uint32_t number)
{
	return LOW_PAGES - MT_PAGES / 2 + number;
}

uint32_t mt_number(uint64_t page)
{
	CHECK(page >= mt_page(0) && page < mt_page(MT_PAGES), "page %lu is not the guest's", page);
	return (uint32_t)(page - mt_page(0));
}

static uint64_t *list_of(uint32_t half)
{
	return mt_kernel.lists + (size_t)half * mt_kernel.max;
}

void mt_kernel_write(uint32_t number)
{
	struct mt_kernel *kernel = &mt_kernel;

	if (!kernel->enabled || kernel->tracked[number])
		return;
	kernel->tracked[number] = true;
	if (kernel->count == kernel->max) {
		kernel->overflow = true;
		return;
	}
	list_of(kernel->filling)[kernel->count++] = KVM_MT_ENTRY_MAKE(0, gfn_of(mt_page(number))) |
						    (kernel->leave_invalid ? 0 : KVM_MT_ENTRY_VALID);
}

static int failed(int code)
{
	errno = code;
	return -1;
}

static int create(const struct kvm_mt_create *what)
{
	struct mt_kernel *kernel = &mt_kernel;
	size_t bytes = 2 * what->max_gfns * sizeof(uint64_t);
	int fd = memfd_create("mt", MFD_CLOEXEC);

	CHECK(!what->flags && what->max_gfns, "create");
	CHECK(fd >= 0 && ftruncate(fd, (off_t)bytes) == 0, "no memory");
	if (kernel->lists)
		munmap(kernel->lists, 2 * kernel->max * sizeof(uint64_t));
	*kernel = (struct mt_kernel){ .fd = fd, .max = what->max_gfns, .epoch = 100, .fail_at = kernel->fail_at };
	kernel->lists = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	CHECK(kernel->lists != MAP_FAILED, "no memory");
	return fd;
}

static int enable(const struct kvm_mt_enable *what)
{
	struct mt_kernel *kernel = &mt_kernel;

	if (!what->enable && !kernel->enabled)
		return failed(ENXIO);
	CHECK(!what->enable || !kernel->enabled, "enabled twice");
	kernel->enabled = what->enable;
	kernel->overflow = false;
	kernel->count = kernel->sealed_count = 0;
	memset(kernel->tracked, 0, sizeof(kernel->tracked));
	return 0;
}

static void arm(uint64_t entry)
{
	CHECK(KVM_MT_ENTRY_AS(entry) == 0, "address space %lu", (unsigned long)KVM_MT_ENTRY_AS(entry));
	mt_kernel.tracked[mt_number(page_of(KVM_MT_ENTRY_GFN(entry), mt_page(MT_PAGES)))] = false;
}

static int prepare(struct kvm_mt_prepare *what)
{
	struct mt_kernel *kernel = &mt_kernel;

	CHECK((what->flags & ~KVM_MT_PREPARE_REARM) == KVM_MT_PREPARE_RELEASE, "flags");
	if (!kernel->enabled)
		return failed(ENXIO);
	kernel->seals++;
	what->count = kernel->sealed_count = kernel->count;
	what->epoch = kernel->epoch++;
	what->list = kernel->filling;
	what->status = kernel->overflow ? KVM_MT_STATUS_OVERFLOW : 0;
	kernel->filling ^= 1;
	kernel->count = 0;
	memset(list_of(kernel->filling), 0, kernel->max * sizeof(uint64_t));
	for (uint32_t i = 0; (what->flags & KVM_MT_PREPARE_REARM) && i < what->count; i++)
		arm(list_of(what->list)[i]);
	return 0;
}

static int rearm(struct kvm_mt_rearm *what)
{
	struct mt_kernel *kernel = &mt_kernel;
	const uint64_t *entries = (const uint64_t *)(uintptr_t)what->gfns;
	uint32_t first = 0, step = 1, end = what->count;

	kernel->rearms++;
	if (what->flags & KVM_MT_REARM_GFNS) {
		CHECK(!what->epoch && !what->start && what->count, "by number");
	} else {
		CHECK(what->flags == KVM_MT_REARM_SHARE && !what->gfns && what->start < what->count, "by share");
		if (what->epoch != kernel->epoch - 1)
			return failed(ESTALE);
		entries = list_of(kernel->filling ^ 1);
		first = what->start;
		step = what->count;
		end = kernel->sealed_count;
	}
	what->done = 0;
	for (uint32_t i = first; i < end; i += step, what->done++)
		arm(entries[i]);
	return 0;
}

int __wrap_ioctl(int fd, unsigned long request, ...)
{
	va_list arguments;
	void *argument;

	va_start(arguments, request);
	argument = va_arg(arguments, void *);
	va_end(arguments);
	if (mt_kernel.fail_at && --mt_kernel.fail_at == 0)
		return failed(ENOMEM);
	CHECK(fd == (request == KVM_CHECK_EXTENSION || request == KVM_MT_CREATE ? MT_VM_FD : mt_kernel.fd), "fd %d", fd);
	switch (request) {
	case KVM_CHECK_EXTENSION:
		return (uintptr_t)argument == KVM_CAP_MEMORY_TRACKING ? 1 << 20 : 0;
	case KVM_MT_CREATE:
		return create(argument);
	case KVM_MT_ENABLE:
		return enable(argument);
	case KVM_MT_THRESHOLD:
		mt_kernel.threshold = ((struct kvm_mt_threshold *)argument)->threshold;
		return 0;
	case KVM_MT_PREPARE:
		return prepare(argument);
	case KVM_MT_REARM:
		return rearm(argument);
	default:
		CHECK(false, "request %lx", request);
		return -1;
	}
}
