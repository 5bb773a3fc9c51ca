/* SPDX-License-Identifier: GPL-2.0-only */
/* The guest's programs: position-independent, without a stack. */
#ifndef BENCH_GUEST_H
#define BENCH_GUEST_H

#include <stdint.h>

#include "vm.h"

extern const uint8_t guest_start[], guest_touch[], guest_hot[], guest_end[];

/* Where to write. The n-th page of a scattered pattern is n * an odd number, modulo the memory's pages. */
struct touch {
	uint64_t memory_pages;	/* a power of 2 */
	uint64_t pages;		/* of all vCPUs together: each writes its share */
	int scattered;
};

/* Each vCPU writes its share once, then leaves by port I/O. */
void guest_aim_touch(struct vm *vm, const struct touch *touch);
/* vCPU 0 writes the first pages over and over, spinning after each page. */
void guest_aim_hot(struct vm *vm, uint64_t pages, uint64_t spin);
/* How many times the hot program has written all of its pages, in all VMs. */
uint64_t guest_hot_rounds(void);

#endif
