// SPDX-License-Identifier: GPL-2.0-only
/* Running a vCPU: its first registers, its programs, its thread. */
#include <signal.h>
#include <time.h>
#include <unistd.h>

#include "mt_api.h"
#include "mt_guest.h"
#include "mt_vm.h"

static struct kvm_segment segment(unsigned int selector, u8 type, int privilege)
{
	bool code = type == 11;

	return (struct kvm_segment){
		.selector = selector | privilege, .type = type, .limit = 0xffffffff, .present = 1,
		.dpl = privilege, .s = 1, .g = 1, .l = code, .db = !code,
	};
}

void vcpu_program(struct vcpu *vcpu, const void *program, const u64 arguments[5], int privilege)
{
	struct kvm_regs regs = {
		.rip = SYS_CODE + ((const char *)program - guest_code),
		.rdi = arguments[0], .rsi = arguments[1], .rdx = arguments[2], .rcx = arguments[3],
		.r8 = arguments[4],
		.rflags = 0x3002,	/* IOPL 3: port I/O at CPL 3 exits like any other */
	};
	struct kvm_mp_state runnable = { .mp_state = KVM_MP_STATE_RUNNABLE };
	struct kvm_segment data = segment(0x28, 3, privilege);
	struct kvm_sregs sregs;

	CHECK_OK(mt_ioctl(vcpu->fd, KVM_GET_SREGS, &sregs));
	sregs.cs = segment(0x30, 11, privilege);
	sregs.ds = sregs.es = sregs.fs = sregs.gs = sregs.ss = data;
	sregs.cr0 = 0x80000001;
	sregs.cr3 = SYS_PML4;
	sregs.cr4 = 0x620;
	sregs.efer = 0x500;
	CHECK_OK(mt_ioctl(vcpu->fd, KVM_SET_SREGS, &sregs));
	CHECK_OK(mt_ioctl(vcpu->fd, KVM_SET_REGS, &regs));
	/* With an in-kernel LAPIC all but the first vCPU would wait for a SIPI. */
	if (vcpu->vm->flags & VM_IRQCHIP)
		CHECK_OK(mt_ioctl(vcpu->fd, KVM_SET_MP_STATE, &runnable));
}

void vcpu_write_list(struct vcpu *vcpu, const u64 *addresses, u32 count, u64 value)
{
	u64 offset = SYS_LISTS + vcpu->index * LIST_BYTES;

	CHECK(count && count <= LIST_MAX, "a list of %u addresses", count);
	memcpy(vcpu->vm->system + offset, addresses, count * sizeof(u64));
	vcpu_program(vcpu, guest_write_list, (u64[5]){ offset, count, value }, 3);
}

void vcpu_write_stride(struct vcpu *vcpu, u64 gpa, u64 count, u64 stride, u64 value)
{
	vcpu_program(vcpu, guest_write_stride, (u64[5]){ gpa, count, value, stride }, 3);
}

int vcpu_run(struct vcpu *vcpu)
{
	int result = mt_ioctl(vcpu->fd, KVM_RUN, NULL);

	vcpu->last = result < 0 ? result : (int)vcpu->run->exit_reason;
	return vcpu->last;
}

static bool guest_done(const struct vcpu *vcpu)
{
	return vcpu->last == KVM_EXIT_IO && vcpu->run->io.port == DONE_PORT;
}

void vcpu_finish(struct vcpu *vcpu)
{
	do
		vcpu_run(vcpu);
	while (vcpu->last == -EINTR);
	CHECK(guest_done(vcpu), "vCPU %u left the guest with %d, expected that the guest is done",
	      vcpu->index, vcpu->last);
}

static void *vcpu_thread(void *argument)
{
	struct vcpu *vcpu = argument;

	while (!vcpu->stop) {
		vcpu_run(vcpu);
		if (vcpu->last == KVM_EXIT_MEMORY_TRACKING) {
			vcpu->mt_exits++;
			if (!vcpu->rerun)
				break;
			usleep(200);	/* whoever seals needs the processor */
		} else if (vcpu->last != -EINTR) {
			break;
		}
	}
	vcpu->ended = true;
	return NULL;
}

static void wake(int signal)
{
	(void)signal;
}

void vcpu_start(struct vcpu *vcpu)
{
	struct sigaction action = { .sa_handler = wake };
	int error;

	sigaction(SIGUSR1, &action, NULL);
	vcpu->stop = vcpu->ended = false;
	vcpu->run->immediate_exit = 0;
	error = pthread_create(&vcpu->thread, NULL, vcpu_thread, vcpu);
	CHECK(!error, "thread of vCPU %u: %s", vcpu->index, strerror(error));
}

void vcpu_wait(struct vcpu *vcpu)
{
	pthread_join(vcpu->thread, NULL);
}

void vcpu_stop(struct vcpu *vcpu)
{
	vcpu->stop = true;
	vcpu->run->immediate_exit = 1;	/* the signal may come before KVM_RUN */
	pthread_kill(vcpu->thread, SIGUSR1);
	pthread_join(vcpu->thread, NULL);
	vcpu->run->immediate_exit = 0;
}

bool vcpu_ends_within(struct vcpu *vcpu, unsigned int limit_ms)
{
	u64 deadline_us = now_us() + limit_ms * 1000ull;

	while (!vcpu->ended && now_us() < deadline_us)
		usleep(500);
	return vcpu->ended;
}

u64 now_us(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * 1000000ull + now.tv_nsec / 1000;
}
