/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The state blob of an epoch: a msgpack map {section name: bin}, each section
 * one flat structure of fixed size. Sizes are known once the VM exists, so the
 * msgpack around the sections is written once; a capture only fills them in.
 *
 *   "machine"          struct machine_state: interrupt controllers, timer, clock
 *   "serial"           struct serial (devices.h)
 *   "power"            struct power (devices.h)
 *   "console", ...     struct virtio_state (virtio.h), of each virtio device that the machine has
 *   "net_addresses"    struct net_addresses (net_addresses.h), with a network device
 *   "vcpu0", ...       struct vcpu_state, the XSAVE area, struct kvm_msrs and its entries
 */
#ifndef FTD_STATE_H
#define FTD_STATE_H

#include <linux/kvm.h>

#include "base.h"

#define STATE_LAYOUT 2u

struct ftd_vm;
struct vcpu;
struct state;

struct machine_state {
	uint32_t layout, irqchip;
	uint64_t memory_bytes;
	uint32_t vcpus, tsc_khz;
	struct kvm_irqchip chips[3];
	struct kvm_pit_state2 pit;
	struct kvm_clock_data clock;
};

struct vcpu_state {
	uint32_t layout, irqchip, xsave_len, msr_count;
	struct kvm_regs regs;
	struct kvm_sregs sregs;
	struct kvm_debugregs debug;
	struct kvm_xcrs xcrs;
	struct kvm_vcpu_events events;
	struct kvm_mp_state mp;
	uint32_t reserved;
	struct kvm_lapic_state lapic;
};
_Static_assert(sizeof(struct vcpu_state) % 8 == 0, "what follows must be aligned");
_Static_assert(sizeof(struct machine_state) % 8 == 0, "no tail padding");

int state_prepare(struct ftd_vm *vm, ftd_error *error);
void state_release(struct ftd_vm *vm);
/* Fills in all but the CPUID part. */
void state_describe(const struct ftd_vm *vm, ftd_processor *processor);
uint32_t state_length(const struct ftd_vm *vm);

/* On the vCPU's own thread: a vCPU ioctl from another thread would have to wait for its lock. 0 or -errno. */
int state_capture_vcpu(struct vcpu *vcpu);
/* With vm->devices held. 0 or -errno. */
int state_capture_machine(struct ftd_vm *vm);
/* Puts the captured sections together; `to` holds state_length() bytes. With vm->devices held. */
void state_assemble(const struct ftd_vm *vm, char *to);

#endif
