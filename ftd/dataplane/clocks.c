/* SPDX-License-Identifier: Apache-2.0 */
/*
 * No clock of the guest may step back, on no vCPU and between no two.
 *
 * The TSCs. Each vCPU's was read on its own way to the stop, so the values
 * differ by how long each of them took. Written one after the other with
 * KVM_SET_MSRS they would be subject to KVM's guess whether somebody wants to
 * bring TSCs into step: a value within a second of what another vCPU shows is
 * replaced by that one's. That also hits a whole machine whose guest is about
 * as old as this standby. So the offsets are set instead, where KVM has them
 * (Linux 5.16): all vCPUs get one offset, by which the TSC that was read last
 * goes on from its value and the others follow it in step, as they were
 * before; plus what the guest itself has put into TSC_ADJUST. KVM takes equal
 * offsets for TSCs in step and keeps kvmclock stable.
 *
 * kvmclock goes on from its value at the checkpoint (KVM_SET_CLOCK without
 * flags: the time in between did not happen for the guest). It is set right
 * before the TSCs: until a vCPU's first entry the guest's memory holds the
 * parameters of the old host, which give the captured time plus TSC ticks, and
 * the new ones must not be behind that.
 *
 * A TSC deadline is compared with the TSC when it is set: so it comes last.
 */
#include "clocks.h"

#include <linux/kvm.h>
#include <sys/ioctl.h>

#include "vm.h"

#define MSR_TSC 0x10u
#define MSR_TSC_ADJUST 0x3bu
#define MSR_TSC_DEADLINE 0x6e0u

bool clocks_note_msr(struct vcpu *vcpu, uint32_t index, uint64_t value)
{
	switch (index) {
	case MSR_TSC:
		vcpu->clock.tsc = value;
		return true;
	case MSR_TSC_DEADLINE:
		vcpu->clock.tsc_deadline = value;
		return true;
	case MSR_TSC_ADJUST:
		vcpu->clock.tsc_adjust = value;	/* set with the others: from the host's side this moves no TSC */
		return false;
	default:
		return false;
	}
}

static int msr(const struct vcpu *vcpu, unsigned long request, uint32_t index, uint64_t *value)
{
	struct {
		struct kvm_msrs head;
		struct kvm_msr_entry entry;
	} one = { .head = { .nmsrs = 1 }, .entry = { .index = index, .data = *value } };

	if (ioctl(vcpu->fd, request, &one) != 1)
		return -1;
	*value = one.entry.data;
	return 0;
}

static int tsc_offset(const struct vcpu *vcpu, unsigned long request, uint64_t *offset)
{
	struct kvm_device_attr attribute = {
		.group = KVM_VCPU_TSC_CTRL, .attr = KVM_VCPU_TSC_OFFSET, .addr = (uintptr_t)offset,
	};

	return ioctl(vcpu->fd, request, &attribute);
}

/* The TSC of a vCPU whose guest has not moved it, at the moment that the last of them was read. */
static uint64_t newest_tsc(const struct ftd_vm *vm)
{
	uint64_t newest = 0;

	for (uint32_t i = 0; i < vm->vcpu_count; i++) {
		const struct vcpu_clock *clock = &vm->vcpus[i].clock;
		uint64_t tsc = clock->tsc - clock->tsc_adjust;

		/* They may wrap, and differ by little: so not simply the greatest. */
		if (i == 0 || (int64_t)(tsc - newest) > 0)
			newest = tsc;
	}
	return newest;
}

static int set_tscs(struct ftd_vm *vm, ftd_error *error)
{
	uint64_t tsc = newest_tsc(vm), shown = 0, offset;
	bool offsets = tsc_offset(&vm->vcpus[0], KVM_HAS_DEVICE_ATTR, &offset) == 0;

	if (offsets && (tsc_offset(&vm->vcpus[0], KVM_GET_DEVICE_ATTR, &offset) < 0 ||
			msr(&vm->vcpus[0], KVM_GET_MSRS, MSR_TSC, &shown) < 0))
		return ftd_fail(error, errno, "reading the TSC of vCPU 0: %s", strerror(errno));
	for (uint32_t i = 0; i < vm->vcpu_count; i++) {
		const struct vcpu *vcpu = &vm->vcpus[i];
		uint64_t adjust = vcpu->clock.tsc_adjust, value = tsc + adjust, own = offset + (tsc - shown) + adjust;

		if (offsets ? tsc_offset(vcpu, KVM_SET_DEVICE_ATTR, &own) < 0 :
			      msr(vcpu, KVM_SET_MSRS, MSR_TSC, &value) < 0)
			return ftd_fail(error, errno, "setting the TSC of vCPU %u: %s", i, strerror(errno));
	}
	return 0;
}

int clocks_start(struct ftd_vm *vm, ftd_error *error)
{
	struct kvm_clock_data clock = { .clock = vm->clocks.guest_ns };

	if (!vm->clocks.restored)
		return 0;
	if (ioctl(vm->fd, KVM_SET_CLOCK, &clock) < 0)
		return ftd_fail(error, errno, "restoring the guest's clock: %s", strerror(errno));
	if (set_tscs(vm, error) < 0)
		return -1;
	for (uint32_t i = 0; i < vm->vcpu_count; i++) {
		struct vcpu *vcpu = &vm->vcpus[i];

		if (vcpu->clock.tsc_deadline &&
		    msr(vcpu, KVM_SET_MSRS, MSR_TSC_DEADLINE, &vcpu->clock.tsc_deadline) < 0)
			return ftd_fail(error, errno, "setting the timer of vCPU %u: %s", i, strerror(errno));
		clocks_excuse_pause(vcpu);
	}
	return 0;
}

void clocks_excuse_pause(struct vcpu *vcpu)
{
	/* Refused where the guest has no kvmclock, which then has nothing to be excused in. */
	ioctl(vcpu->fd, KVM_KVMCLOCK_CTRL, 0);
}
