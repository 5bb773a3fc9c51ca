/* SPDX-License-Identifier: Apache-2.0 */
#define _GNU_SOURCE
#include "pace.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>

#define WINDOW_NS (100 * FTD_MS)	/* long against the scheduler's slices: a wait is counted when it ends */

uint32_t pace_next(uint32_t stretch, uint64_t waited_ns, uint64_t elapsed_ns)
{
	if (waited_ns > elapsed_ns / 3)
		return (uint32_t)min_u64(stretch + stretch / 2, PACE_STRETCH_MAX);
	if (waited_ns < elapsed_ns / 6)
		return (uint32_t)max_u64(stretch - (stretch + PACE_ONE - 1) / PACE_ONE, PACE_ONE);
	return stretch;
}

uint64_t pace_stretched(uint32_t stretch, uint64_t period_ns)
{
	return max_u64(period_ns, min_u64(period_ns * stretch / PACE_ONE, PACE_PERIOD_MAX_NS));
}

void pace_init(struct pace *pace)
{
	for (size_t i = 0; i < ARRAY_SIZE(pace->fds); i++)
		pace->fds[i] = -1;
	pace->looked_ns = 0;
	atomic_store(&pace->stretch, PACE_ONE);
}

/* schedstat: time on a processor, time of waiting for one, both in ns, and how often. */
static bool read_waited(int fd, uint64_t *waited_ns)
{
	char text[96], *end;
	ssize_t n = pread(fd, text, sizeof(text) - 1, 0);

	if (n <= 0)
		return false;
	text[n] = 0;
	strtoull(text, &end, 10);
	if (*end != ' ')
		return false;
	*waited_ns = strtoull(end, NULL, 10);
	return true;
}

/* What a thread waited before does not count. */
static void open_missing(struct pace *pace, const struct ftd_vm *vm, uint32_t index)
{
	pid_t tid = atomic_load(&vm->vcpus[index].tid);
	char path[64];

	if (pace->fds[index] >= 0 || !tid)
		return;
	snprintf(path, sizeof(path), "/proc/self/task/%d/schedstat", tid);
	pace->fds[index] = open(path, O_RDONLY | O_CLOEXEC);
	if (pace->fds[index] >= 0)
		read_waited(pace->fds[index], &pace->waited_ns[index]);
}

void pace_follow(struct pace *pace, const struct ftd_vm *vm)
{
	uint64_t now = now_ns(), longest_ns = 0;

	if (now - pace->looked_ns < WINDOW_NS)
		return;
	for (uint32_t i = 0; i < vm->vcpu_count; i++) {
		uint64_t waited_ns;

		open_missing(pace, vm, i);
		if (pace->fds[i] < 0 || !read_waited(pace->fds[i], &waited_ns))
			continue;
		longest_ns = max_u64(longest_ns, waited_ns - pace->waited_ns[i]);
		pace->waited_ns[i] = waited_ns;
	}
	if (pace->looked_ns)
		atomic_store(&pace->stretch, pace_next(atomic_load(&pace->stretch), longest_ns, now - pace->looked_ns));
	pace->looked_ns = now;
}

void pace_end(struct pace *pace)
{
	for (size_t i = 0; i < ARRAY_SIZE(pace->fds); i++)
		if (pace->fds[i] >= 0)
			close(pace->fds[i]);
	pace_init(pace);
}
