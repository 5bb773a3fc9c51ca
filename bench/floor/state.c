#include <string.h>

#include "floor.h"

struct vm_state {
    struct kvm_irqchip irqchips[3];
    struct kvm_pit_state2 pit;
    struct kvm_clock_data clock;
};

struct vcpu_state {
    struct kvm_regs regs;
    struct kvm_sregs sregs;
    struct kvm_vcpu_events events;
    struct kvm_xcrs xcrs;
    struct kvm_debugregs debugregs;
    struct kvm_mp_state mp_state;
    struct kvm_lapic_state lapic;
    /* then xsave, then MSRs */
};

static size_t round_up(size_t bytes)
{
    return (bytes + 63) & ~(size_t)63;
}

size_t vcpu_state_bytes(const struct machine *machine)
{
    return round_up(sizeof(struct vcpu_state)) + round_up(machine->xsave_bytes) + round_up(machine->msrs_bytes);
}

size_t state_bytes(const struct machine *machine)
{
    size_t vm = machine->irqchip ? round_up(sizeof(struct vm_state)) : 0;
    return machine->vcpu_count * vcpu_state_bytes(machine) + vm;
}

void capture_vcpu(const struct machine *machine, const struct vcpu *vcpu, uint8_t *out)
{
    struct vcpu_state *state = (struct vcpu_state *)out;
    uint8_t *xsave = out + round_up(sizeof(*state));
    uint8_t *msrs = xsave + round_up(machine->xsave_bytes);

    state->regs = vcpu->run->s.regs.regs;
    state->sregs = vcpu->run->s.regs.sregs;
    state->events = vcpu->run->s.regs.events;
    checked_ioctl(vcpu->fd, machine->xsave_bytes > sizeof(struct kvm_xsave) ? KVM_GET_XSAVE2 : KVM_GET_XSAVE, xsave,
                  "KVM_GET_XSAVE");
    checked_ioctl(vcpu->fd, KVM_GET_XCRS, &state->xcrs, "KVM_GET_XCRS");
    checked_ioctl(vcpu->fd, KVM_GET_DEBUGREGS, &state->debugregs, "KVM_GET_DEBUGREGS");
    memcpy(msrs, machine->msr_template, machine->msrs_bytes);
    checked_ioctl(vcpu->fd, KVM_GET_MSRS, msrs, "KVM_GET_MSRS");
    if (machine->irqchip) {
        checked_ioctl(vcpu->fd, KVM_GET_MP_STATE, &state->mp_state, "KVM_GET_MP_STATE");
        checked_ioctl(vcpu->fd, KVM_GET_LAPIC, &state->lapic, "KVM_GET_LAPIC");
    }
}

void capture_vm(const struct machine *machine, uint8_t *out)
{
    struct vm_state *state = (struct vm_state *)out;

    if (!machine->irqchip)
        return;
    for (unsigned i = 0; i < 3; i++) {
        state->irqchips[i].chip_id = i;
        checked_ioctl(machine->vm, KVM_GET_IRQCHIP, &state->irqchips[i], "KVM_GET_IRQCHIP");
    }
    checked_ioctl(machine->vm, KVM_GET_PIT2, &state->pit, "KVM_GET_PIT2");
    checked_ioctl(machine->vm, KVM_GET_CLOCK, &state->clock, "KVM_GET_CLOCK");
}
