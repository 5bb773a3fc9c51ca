// SPDX-License-Identifier: GPL-2.0-only
#include "guest.h"
#include "sys.h"

#define SCATTER		0x9e3779b1UL	/* odd, so that no page comes twice */
#define COUNTER		0x20000UL	/* in the reserved pages */

/*
 * touch: rdi memory, rbx index, rcx count, r8 factor, r9 mask
 * hot:   rdi memory, rcx pages, rdx spin, r10 counter
 */
__asm__(".pushsection .rodata\n"
	".globl guest_start, guest_touch, guest_hot, guest_end\n"
	"guest_start:\n"
	"guest_touch:\n"
	"1:	mov	%rbx, %rax\n"
	"	imul	%r8, %rax\n"
	"	and	%r9, %rax\n"
	"	shl	$12, %rax\n"
	"	incq	(%rdi, %rax)\n"
	"	inc	%rbx\n"
	"	dec	%rcx\n"
	"	jnz	1b\n"
	"	out	%al, $0x10\n"
	"	ud2\n"
	"guest_hot:\n"
	"2:	mov	%rcx, %rsi\n"
	"	mov	%rdi, %rax\n"
	"3:	incq	(%rax)\n"
	"	add	$4096, %rax\n"
	"	mov	%rdx, %rbx\n"
	"4:	dec	%rbx\n"
	"	jnz	4b\n"
	"	dec	%rsi\n"
	"	jnz	3b\n"
	"	incq	(%r10)\n"
	"	jmp	2b\n"
	"guest_end:\n"
	".popsection\n");

static uint64_t slot_address(const struct vm *vm, uint64_t offset)
{
	return vm->first_gfn * PAGE_BYTES + offset;
}

void guest_aim_touch(struct vm *vm, const struct touch *touch)
{
	uint64_t share = touch->pages / vm->vcpu_count;

	for (unsigned int i = 0; i < vm->vcpu_count; i++) {
		struct guest_registers registers = {
			.rip = (uint64_t)(guest_touch - guest_start),
			.rdi = slot_address(vm, RESERVED_PAGES * PAGE_BYTES),
			.rbx = i * share,
			.rcx = share,
			.r8 = touch->scattered ? SCATTER : 1,
			.r9 = touch->memory_pages - 1,
		};
		vm_set_registers(vm, i, &registers);
	}
}

void guest_aim_hot(struct vm *vm, uint64_t pages, uint64_t spin)
{
	struct guest_registers registers = {
		.rip = (uint64_t)(guest_hot - guest_start),
		.rdi = slot_address(vm, RESERVED_PAGES * PAGE_BYTES),
		.rcx = pages,
		.rdx = spin,
		.r10 = slot_address(vm, COUNTER),
	};

	vm_set_registers(vm, 0, &registers);
}

uint64_t guest_hot_rounds(void)
{
	return *(volatile uint64_t *)(vm_memory() + COUNTER);
}
