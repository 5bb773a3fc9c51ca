/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a vCPU left the guest for: accesses to ports and to the devices' windows. Each is carried out with vm->devices
 * held; its result is in kvm_run before the vCPU runs again.
 */
#ifndef FTD_EXITS_H
#define FTD_EXITS_H

#include "vm.h"

void exit_io(struct vcpu *vcpu);
void exit_mmio(struct vcpu *vcpu);

#endif
