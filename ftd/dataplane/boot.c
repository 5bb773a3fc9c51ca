/* SPDX-License-Identifier: Apache-2.0 */
/* First registers of a bare guest: 64-bit mode at CPL 3, docs/MICROVM.md. */
#include <sys/ioctl.h>

#include "vm.h"

#define CR0_PROTECTION_AND_PAGING 0x80000001ull
#define CR4_PAE_FXSR_XMM 0x620ull
#define EFER_LONG_MODE 0x500ull
#define RFLAGS_IOPL_3 0x3002ull
#define SELECTOR_CODE 0x33
#define SELECTOR_DATA 0x2b

static struct kvm_segment segment(uint16_t selector, uint8_t type, bool code)
{
	return (struct kvm_segment){
		.selector = selector, .type = type, .limit = 0xffffffff, .present = 1, .dpl = 3, .s = 1, .g = 1,
		.l = code, .db = !code,
	};
}

int ftd_vm_boot_vcpu(ftd_vm *vm, uint32_t index, uint64_t rip, uint64_t rsp, uint64_t rdi, uint64_t rsi,
		     uint64_t cr3, ftd_error *error)
{
	struct kvm_regs regs = { .rip = rip, .rsp = rsp, .rdi = rdi, .rsi = rsi, .rflags = RFLAGS_IOPL_3 };
	struct kvm_mp_state mp = { .mp_state = KVM_MP_STATE_RUNNABLE };
	struct kvm_segment data = segment(SELECTOR_DATA, 3, false);
	struct kvm_sregs sregs;

	if (vm->running || index >= vm->vcpu_count)
		return ftd_fail(error, EINVAL, "vCPU %u does not exist or runs already", index);
	if (ioctl(vm->vcpus[index].fd, KVM_GET_SREGS, &sregs) < 0)
		return ftd_fail(error, errno, "reading registers of vCPU %u: %s", index, strerror(errno));
	sregs.cs = segment(SELECTOR_CODE, 11, true);
	sregs.ds = sregs.es = sregs.fs = sregs.gs = sregs.ss = data;
	sregs.cr0 = CR0_PROTECTION_AND_PAGING;
	sregs.cr3 = cr3;
	sregs.cr4 = CR4_PAE_FXSR_XMM;
	sregs.efer = EFER_LONG_MODE;
	if (ioctl(vm->vcpus[index].fd, KVM_SET_SREGS, &sregs) < 0 ||
	    ioctl(vm->vcpus[index].fd, KVM_SET_REGS, &regs) < 0)
		return ftd_fail(error, errno, "setting registers of vCPU %u: %s", index, strerror(errno));
	/* With an in-kernel LAPIC all but the first vCPU wait for a SIPI that a bare guest never sends. */
	if (vm->irqchip && ioctl(vm->vcpus[index].fd, KVM_SET_MP_STATE, &mp) < 0)
		return ftd_fail(error, errno, "starting vCPU %u: %s", index, strerror(errno));
	return 0;
}
