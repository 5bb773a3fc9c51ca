/* SPDX-License-Identifier: Apache-2.0 */
/*
 * First registers of Linux on vCPU 0: its 64-bit boot protocol
 * (Documentation/arch/x86/boot.rst), at CPL 3's opposite. The other vCPUs keep
 * KVM's reset state and wait for the kernel's SIPI.
 */
#include <sys/ioctl.h>

#include "vm.h"

#define CR0_PROTECTION_NUMERIC_PAGING 0x80000031ull	/* PE, ET, NE, PG */
#define CR4_PAE 0x20ull
#define EFER_LONG_MODE 0x500ull
#define RFLAGS_CLEAR 0x2ull
/* __BOOT_CS and __BOOT_DS */
#define SELECTOR_CODE 0x10
#define SELECTOR_DATA 0x18

static struct kvm_segment segment(uint16_t selector, uint8_t type, bool code)
{
	return (struct kvm_segment){
		.selector = selector, .type = type, .limit = 0xffffffff, .present = 1, .s = 1, .g = 1,
		.l = code, .db = !code,
	};
}

int ftd_vm_boot_linux(ftd_vm *vm, uint64_t rip, uint64_t zero_page, uint64_t cr3, uint64_t gdt, uint32_t gdt_bytes,
		      ftd_error *error)
{
	struct kvm_regs regs = { .rip = rip, .rsi = zero_page, .rflags = RFLAGS_CLEAR };
	struct kvm_segment data = segment(SELECTOR_DATA, 3, false);
	int fd = vm->vcpus[0].fd;
	struct kvm_sregs sregs;

	if (vm->running)
		return ftd_fail(error, EINVAL, "the VM runs already");
	if (!vm->irqchip)
		return ftd_fail(error, EINVAL, "Linux needs the interrupt controllers (irqchip)");
	if (ioctl(fd, KVM_GET_SREGS, &sregs) < 0)
		return ftd_fail(error, errno, "reading registers of vCPU 0: %s", strerror(errno));
	sregs.cs = segment(SELECTOR_CODE, 11, true);
	sregs.ds = sregs.es = sregs.fs = sregs.gs = sregs.ss = data;
	sregs.gdt.base = gdt;
	sregs.gdt.limit = (uint16_t)(gdt_bytes - 1);
	sregs.idt.base = 0;
	sregs.idt.limit = 0;
	sregs.cr0 = CR0_PROTECTION_NUMERIC_PAGING;
	sregs.cr3 = cr3;
	sregs.cr4 = CR4_PAE;
	sregs.efer = EFER_LONG_MODE;
	if (ioctl(fd, KVM_SET_SREGS, &sregs) < 0 || ioctl(fd, KVM_SET_REGS, &regs) < 0)
		return ftd_fail(error, errno, "setting registers of vCPU 0: %s", strerror(errno));
	return 0;
}
