// SPDX-License-Identifier: GPL-2.0-only
/* What tracking takes from the host: no allocation in the cycle, huge pages only while it is enabled. */
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "mt_guest.h"
#include "mt_list.h"

#define TRACING		"/sys/kernel/tracing"
#define LARGE		(2ull << 20)

static const char * const allocation_events[] = {
	"kmem/kmalloc", "kmem/kmem_cache_alloc", "kmem/mm_page_alloc", "kmem/mm_page_alloc_zone_locked",
};

/* False when the file is not there or refuses. */
static bool write_tracing(const char *text, const char *format, ...)
{
	char path[256];
	va_list args;
	bool written;
	int fd, used = snprintf(path, sizeof(path), TRACING "/");

	va_start(args, format);
	vsnprintf(path + used, sizeof(path) - used, format, args);
	va_end(args);
	fd = open(path, O_WRONLY | O_TRUNC | O_CLOEXEC);
	if (fd < 0)
		return false;
	written = write(fd, text, strlen(text)) == (ssize_t)strlen(text);
	close(fd);
	return written;
}

/*
 * Prepares the trace of allocations that this thread makes itself; returns the
 * fd of the switch. It stays open: opening it would be traced.
 */
static int trace_allocations(void)
{
	char filter[64];
	int events = 0, fd;

	if (access(TRACING "/trace", F_OK) && mount("tracefs", TRACING, "tracefs", 0, NULL))
		mt_skip("no tracefs: %s", strerror(errno));
	snprintf(filter, sizeof(filter), "common_pid == %ld", syscall(SYS_gettid));
	fd = open(TRACING "/tracing_on", O_WRONLY | O_CLOEXEC);
	for (size_t i = 0; i < ARRAY_SIZE(allocation_events); i++) {
		const char *event = allocation_events[i];

		events += write_tracing(filter, "events/%s/filter", event) &&
			  write_tracing("1", "events/%s/enable", event);
	}
	if (fd < 0 || events < 3)
		mt_skip("this kernel does not trace allocations");
	return fd;
}

static void trace_switch(int fd, bool on)
{
	if (on)
		write_tracing("\n", "trace");	/* empties it */
	CHECK(pwrite(fd, on ? "1" : "0", 1, 0) == 1, "tracing cannot be switched: %s", strerror(errno));
}

/*
 * "task-pid [cpu] flags time: event: ..." where the third flag is h, H, s, z or Z
 * in an interrupt, whose allocations are not the thread's. Keeps one line.
 */
static unsigned int count_allocations(char *example, size_t size)
{
	FILE *trace = fopen(TRACING "/trace", "re");
	unsigned int count = 0;
	char line[512];

	CHECK(trace, "reading the trace: %s", strerror(errno));
	while (fgets(line, sizeof(line), trace)) {
		char *flags = strchr(line, ']');

		if (line[0] == '#' || !flags || strlen(flags) < 6)
			continue;
		if (strchr("hHsSzZ", flags[4]))
			continue;
		line[strcspn(line, "\n")] = 0;
		snprintf(example, size, "%s", line);
		count++;
	}
	fclose(trace);
	return count;
}

static void cycle(int mt, u64 *gfns, u32 room, const u64 *map)
{
	struct kvm_mt_prepare prepare;
	struct kvm_mt_status status;
	u64 marked = GFN(TEST_GPA(0)) + 1;
	volatile u64 sum = 0;
	u32 start;

	CHECK_OK(mt_mark(mt, &marked, 1));
	CHECK_OK(mt_prepare(mt, KVM_MT_PREPARE_RELEASE, &prepare));
	CHECK_OK(mt_fetch(mt, prepare.epoch, 0, gfns, room));
	CHECK_OK(mt_fetch_next(mt, prepare.epoch, &start, gfns, room));
	for (u32 i = 0; i < prepare.count; i++)
		sum += map[prepare.list * mt_map_half(room) / sizeof(u64) + i];
	CHECK_OK(mt_status(mt, &status));
	CHECK_OK(mt_rearm(mt, prepare.epoch, prepare.count / 2, prepare.count - prepare.count / 2));
	CHECK_OK(mt_rearm_gfns(mt, gfns, prepare.count / 2));
	CHECK_OK(mt_threshold(mt, room / 2));
}

static void no_allocation_in_cycle(void)
{
	struct vm *vm = vm_create(2, 0);
	struct region *region = vm_region(vm, 1, TEST_GPA(0), 512, 0);
	const u32 room = 4096;
	char example[512] = "";
	unsigned int count;
	u64 *gfns = calloc(room, sizeof(u64));
	const u64 *map;
	int mt, fd, tracing;

	mt = CHECK_OK(mt_create(vm->fd, room));
	CHECK_OK(mt_enable(mt));
	map = mmap(NULL, mt_map_bytes(room), PROT_READ, MAP_SHARED | MAP_POPULATE, mt, 0);
	CHECK(map != MAP_FAILED && gfns, "no mapping");
	memset(gfns, 1, room * sizeof(u64));
	for (unsigned int i = 0; i < 2; i++) {
		vm->vcpus[i].rerun = true;
		vcpu_program(&vm->vcpus[i], guest_write_random,
			     (u64[5]){ region->gpa, 511, 8 * i, i + 1, 20 }, 3);
		vcpu_start(&vm->vcpus[i]);
	}
	for (int i = 0; i < 3; i++)
		cycle(mt, gfns, room, map);

	tracing = trace_allocations();
	trace_switch(tracing, false);
	trace_switch(tracing, true);
	fd = eventfd(0, EFD_CLOEXEC);
	trace_switch(tracing, false);
	CHECK(fd >= 0 && count_allocations(example, sizeof(example)),
	      "the trace does not even show an eventfd's memory");

	trace_switch(tracing, true);
	for (int i = 0; i < 50; i++)
		cycle(mt, gfns, room, map);
	trace_switch(tracing, false);
	count = count_allocations(example, sizeof(example));
	CHECK(!count, "%u allocations in 50 cycles, the last: %s", count, example);
}

static u8 *large_memory(u64 bytes)
{
	u8 *memory = mmap(NULL, bytes + LARGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	CHECK(memory != MAP_FAILED, "memory: %s", strerror(errno));
	memory = (u8 *)(((uintptr_t)memory + LARGE - 1) & ~(LARGE - 1));
	if (madvise(memory, bytes, MADV_HUGEPAGE))
		mt_skip("no transparent huge pages: %s", strerror(errno));
	memset(memory, 1, bytes);
	return memory;
}

static void write_all(struct vm *vm, const struct region *region, u64 value)
{
	vcpu_write_stride(&vm->vcpus[0], region->gpa, region->pages, PAGE, value);
	vcpu_finish(&vm->vcpus[0]);
}

static void huge_pages_come_back(void)
{
	const u64 large_pages = 4;
	struct vm *vm = vm_create(1, 0);
	struct region *region = vm_region_at(vm, 1, TEST_GPA(0), large_pages * 512, 0,
					     large_memory(large_pages * LARGE));
	struct list want = { 0 }, got;
	long long before, during, after;
	int mt;

	write_all(vm, region, 1);
	before = vm_stat(vm, "pages_2m");
	if (before < (long long)large_pages)
		mt_skip("KVM maps %lld huge pages of %llu without tracking", before,
			(unsigned long long)large_pages);

	mt = track(vm);
	write_all(vm, region, 2);
	during = vm_stat(vm, "pages_2m");
	list_add_pages(&want, region, 0, region->pages, 1);
	got = harvest(mt);
	list_expect("all pages of split huge pages", &got, &want);

	CHECK_OK(mt_disable(mt));
	write_all(vm, region, 3);
	after = vm_stat(vm, "pages_2m");
	mt_note("huge pages %lld, %lld while tracked, %lld after", before, during, after);
	CHECK(before - during >= (long long)large_pages, "%lld huge pages mapped while tracked, %lld before",
	      during, before);
	CHECK(after >= before, "%lld huge pages after tracking ended, %lld before", after, before);
}

static const struct mt_test tests[] = {
	MT_TEST(no_allocation_in_cycle, 60),
	MT_TEST(huge_pages_come_back, 60),
	MT_TESTS_END
};

int main(int argc, char **argv)
{
	return mt_main(argc, argv, tests);
}
