/* SPDX-License-Identifier: Apache-2.0 */
#define _GNU_SOURCE
#include "placement.h"

#include <stdatomic.h>

#include "vm.h"

void placement_init(struct placement *placement)
{
	if (sched_getaffinity(getpid(), sizeof(placement->allowed), &placement->allowed) < 0)
		CPU_ZERO(&placement->allowed);	/* more processors than a cpu_set_t holds: leave everything alone */
	placement->applied = placement->allowed;
}

static void apply(struct placement *placement, const cpu_set_t *processors)
{
	for (int i = 0; i < PLACED_MAX; i++) {
		pid_t tid = atomic_load(&placement->tids[i]);

		if (tid)
			sched_setaffinity(tid, sizeof(*processors), processors);	/* best effort */
	}
	placement->applied = *processors;
}

void placement_follow(struct placement *placement, struct ftd_vm *vm)
{
	cpu_set_t wanted = placement->allowed;

	for (uint32_t i = 0; i < vm->vcpu_count; i++) {
		int processor = atomic_load_explicit(&vm->vcpus[i].processor, memory_order_relaxed);

		if (processor >= 0)
			CPU_CLR((size_t)processor, &wanted);
	}
	if (CPU_COUNT(&wanted) == 0)
		wanted = placement->allowed;
	if (CPU_COUNT(&wanted) > 0 && !CPU_EQUAL(&wanted, &placement->applied))
		apply(placement, &wanted);
}

void placement_end(struct placement *placement)
{
	if (!CPU_EQUAL(&placement->allowed, &placement->applied))
		apply(placement, &placement->allowed);
}
