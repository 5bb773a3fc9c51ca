/* SPDX-License-Identifier: Apache-2.0 */
#include "fault.h"

#include <signal.h>

static const char *const names[] = {
#define X(name, text) text,
	FAULT_POINTS(X)
#undef X
};

_Atomic uint32_t fault_armed = FAULT_NONE;
_Atomic uint32_t fault_corrupt;
static _Atomic uint64_t passages_left;

void fault_passed(void)
{
	if (atomic_fetch_sub(&passages_left, 1) == 1)
		kill(getpid(), SIGKILL);
}

int ftd_fault_arm(const char *point, uint64_t nth)
{
	for (uint32_t i = 0; i < ARRAY_SIZE(names); i++) {
		if (strcmp(names[i], point) == 0 && nth > 0) {
			atomic_store(&fault_armed, (uint32_t)FAULT_NONE);
			atomic_store(&passages_left, nth);
			atomic_store(&fault_armed, i);
			return 0;
		}
	}
	return -1;
}

const char *ftd_fault_name(uint32_t index)
{
	return index < ARRAY_SIZE(names) ? names[index] : NULL;
}

void ftd_fault_corrupt(void)
{
	atomic_store_explicit(&fault_corrupt, 1, memory_order_relaxed);
}
