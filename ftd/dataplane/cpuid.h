/* SPDX-License-Identifier: Apache-2.0 */
/* What a vCPU says of itself: KVM's answer, and what KVM leaves to whoever makes the machine. */
#ifndef FTD_CPUID_H
#define FTD_CPUID_H

#include "base.h"

struct vcpu;

int cpuid_set(struct vcpu *vcpu, ftd_error *error);
/* Fills in the CPUID part: what was set. Before the vCPU runs; from then on a few bits follow its control registers. */
int cpuid_get(const struct vcpu *vcpu, ftd_processor *processor, ftd_error *error);

#endif
