/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The clocks of a machine that goes on from a checkpoint: kvmclock, the TSCs,
 * and the timers that are set in TSC units. They are noted while sections are
 * restored and set together right before the vCPUs run (clocks.c says why).
 */
#ifndef FTD_CLOCKS_H
#define FTD_CLOCKS_H

#include "base.h"

struct ftd_vm;
struct vcpu;

/* As they were when the vCPU was captured. */
struct vcpu_clock {
	uint64_t tsc, tsc_adjust;
	uint64_t tsc_deadline;		/* 0: the timer is not set */
};

struct clocks {
	bool restored;
	uint64_t guest_ns;		/* kvmclock */
};

/* Looks at an MSR that is being restored; true: it is a clock's, and clocks_start will set it. */
bool clocks_note_msr(struct vcpu *vcpu, uint32_t index, uint64_t value);
/* Of a machine that was restored, before its vCPUs run. */
int clocks_start(struct ftd_vm *vm, ftd_error *error);
/* On the vCPU's own thread, before it runs again: the guest's watchdogs are not to count this pause. */
void clocks_excuse_pause(struct vcpu *vcpu);

#endif
