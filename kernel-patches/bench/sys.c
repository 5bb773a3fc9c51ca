// SPDX-License-Identifier: GPL-2.0-only
#define _GNU_SOURCE
#include <errno.h>
#include <sched.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <time.h>

#include "sys.h"

void die(const char *format, ...)
{
	int error = errno;
	va_list arguments;

	fputs("mt_bench: ", stderr);
	va_start(arguments, format);
	vfprintf(stderr, format, arguments);
	va_end(arguments);
	fprintf(stderr, "%s%s\n", error ? ": " : "", error ? strerror(error) : "");
	exit(1);
}

uint64_t now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

int checked_ioctl(int fd, unsigned long request, void *argument, const char *name)
{
	int result = ioctl(fd, request, argument);

	if (result < 0)
		die("%s", name);
	return result;
}

void *map_shared(int fd, size_t bytes, size_t offset, int protection, int flags, const char *what)
{
	void *address = mmap(NULL, bytes, protection, MAP_SHARED | flags, fd, (off_t)offset);

	if (address == MAP_FAILED)
		die("mapping %zu bytes of %s", bytes, what);
	return address;
}

void *allocate(size_t bytes, const char *what)
{
	int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE;
	void *address = mmap(NULL, bytes, PROT_READ | PROT_WRITE, flags, -1, 0);

	if (address == MAP_FAILED)
		die("allocating %zu bytes for %s", bytes, what);
	return address;
}

void pin_to(unsigned int processor)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(processor, &set);
	if (sched_setaffinity(0, sizeof(set), &set))
		die("pinning a thread to processor %u: the bench needs two", processor);
}
