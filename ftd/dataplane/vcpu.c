/* SPDX-License-Identifier: Apache-2.0 */
/*
 * vCPU threads, and the stop point where they meet.
 *
 * A vCPU leaves KVM_RUN for the stop point when its own timer signals it (all
 * vCPUs' timers are set to the same instant, so that nobody has to be kicked
 * from another processor), or when another thread does. The signal handler
 * sets immediate_exit: a signal that comes just before KVM_RUN is not lost.
 *
 * State is captured only after KVM_RUN returned EINTR: then an instruction
 * that had exited for I/O has been completed.
 *
 * The last to arrive is the leader. While it works, the others share its work
 * (share.h) or sleep. With one vCPU there is no hand-off at all.
 */
#define _GNU_SOURCE
#include "vm.h"

#include <linux/kvm_mt.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/mman.h>

#include "cycle.h"
#include "disk.h"
#include "exits.h"
#include "io.h"
#include "threads.h"

#define PAUSE_EXCUSED_NS (1000 * FTD_MS)	/* watchdogs of guests bite after tens of seconds */
#define KICK_AFTER_NS 100000ull		/* a vCPU whose own timer did not bring it by then is kicked */

static _Thread_local struct vcpu *self;

static void on_vcpu_signal(int signal_number)
{
	(void)signal_number;
	if (self)
		self->run->immediate_exit = 1;
}

static void kick(struct vcpu *vcpu)
{
	pid_t tid = atomic_load(&vcpu->tid);

	if (tid && vcpu != self)
		syscall(SYS_tgkill, getpid(), tid, VCPU_SIGNAL);
}

void vm_request_stop(struct ftd_vm *vm, uint32_t request)
{
	/* Before the signal: whoever is woken by it must find the request. */
	atomic_fetch_or(&vm->requests, request);
	for (uint32_t i = 0; i < vm->vcpu_count; i++)
		kick(&vm->vcpus[i]);
}

bool vcpu_is_self(void)
{
	return self;
}

/* ---- the stop point ---- */

static void run_command(struct ftd_vm *vm)
{
	/* vm->parking is held. */
	if (!vm->command)
		return;
	vm->command_result = vm->command(vm, vm->command_argument);
	vm->command = NULL;
	pthread_cond_broadcast(&vm->command_done);
}

static void park(struct ftd_vm *vm)
{
	pthread_mutex_lock(&vm->parking);
	vm->park_wanted = false;
	vm->parked = true;
	run_command(vm);	/* one may have been posted since the leader looked */
	pthread_cond_broadcast(&vm->command_done);
	while (vm->parked && !atomic_load(&vm->dying))
		pthread_cond_wait(&vm->unpark, &vm->parking);
	pthread_mutex_unlock(&vm->parking);
}

static void serve_mode(struct ftd_vm *vm, uint32_t requests, uint64_t left_guest_ns)
{
	if (vm->mode == MODE_SYNC)
		cycle_sync_stop(vm->primary);
	else if (vm->mode == MODE_CYCLE)
		cycle_stop(vm->primary, left_guest_ns);
	else if (vm->logging && (requests & STOP_LIST_FULL))
		vm->park_wanted = true;	/* paced by hand: the guest waits for whoever paces it */
}

static void lead(struct vcpu *vcpu)
{
	struct ftd_vm *vm = vcpu->vm;
	uint32_t requests = atomic_exchange(&vm->requests, 0);
	uint64_t left_guest_ns = vcpu->left_guest_ns;
	enum vm_mode captured_for = vm->mode;

	for (uint32_t i = 0; i < vm->vcpu_count; i++)
		left_guest_ns = min_u64(left_guest_ns, vm->vcpus[i].left_guest_ns);
	if (requests & STOP_COMMAND) {
		pthread_mutex_lock(&vm->parking);
		run_command(vm);
		pthread_mutex_unlock(&vm->parking);
	}
	/*
	 * A mode that the command has just set begins with the next stop: on
	 * their way to this one the vCPUs captured what the mode before needs.
	 */
	if (vm->mode == captured_for)
		serve_mode(vm, requests, left_guest_ns);
	if (vm->park_wanted)
		park(vm);
}

static void wait_for_leader(struct ftd_vm *vm, uint32_t stops)
{
	bool kicked = false;

	for (;;) {
		uint32_t news = atomic_load_explicit(&vm->news, memory_order_acquire);

		share_help(vm);
		if (atomic_load_explicit(&vm->stops, memory_order_acquire) != stops || atomic_load(&vm->dying))
			return;
		futex_wait(&vm->news, news, kicked ? 10 * FTD_MS : KICK_AFTER_NS);
		for (uint32_t i = 0; !kicked && i < vm->vcpu_count; i++) {
			if (!atomic_load(&vm->vcpus[i].stopped)) {
				kick(&vm->vcpus[i]);
				count(&vm->counters->vcpu_kicks, 1);
			}
		}
		kicked = true;
	}
}

static void arm_timer(struct vcpu *vcpu)
{
	uint64_t tick = atomic_load_explicit(&vcpu->vm->next_tick_ns, memory_order_relaxed);
	struct itimerspec when = { .it_value = { .tv_sec = (time_t)(tick / 1000000000ull),
						 .tv_nsec = (long)(tick % 1000000000ull) } };

	if (tick != vcpu->armed_for_ns && timer_settime(vcpu->timer, TIMER_ABSTIME, &when, NULL) == 0)
		vcpu->armed_for_ns = tick;
}

static bool stop_is_due(struct vcpu *vcpu)
{
	struct ftd_vm *vm = vcpu->vm;
	uint64_t tick;

	if (atomic_load(&vm->requests))
		return true;
	tick = atomic_load_explicit(&vm->next_tick_ns, memory_order_relaxed);
	if (!tick || vcpu->left_guest_ns < tick)
		return false;	/* a signal for a stop that is over */
	atomic_fetch_or(&vm->requests, STOP_TICK);
	return true;
}

static void stop_point(struct vcpu *vcpu)
{
	struct ftd_vm *vm = vcpu->vm;
	uint32_t stops = atomic_load(&vm->stops);
	int error = 0;

	vcpu->left_guest_ns = now_ns();
	if (!stop_is_due(vcpu)) {
		/* Should this have been the timer after all, it is set again. */
		vcpu->armed_for_ns = 0;
		arm_timer(vcpu);
		return;
	}
	atomic_store_explicit(&vcpu->processor, sched_getcpu(), memory_order_relaxed);
	if (vm->mode == MODE_SYNC || vm->mode == MODE_CYCLE)
		error = state_capture_vcpu(vcpu);
	if (error)
		cycle_failed(vm->primary, error);
	atomic_store(&vcpu->stopped, true);
	/* acq_rel: the last to arrive sees what all the others captured. */
	if (atomic_fetch_add_explicit(&vm->arrived, 1, memory_order_acq_rel) + 1 < vm->vcpu_count) {
		wait_for_leader(vm, stops);
	} else {
		lead(vcpu);
		for (uint32_t i = 0; i < vm->vcpu_count; i++)
			atomic_store(&vm->vcpus[i].stopped, false);
		atomic_store(&vm->arrived, 0);
		atomic_fetch_add_explicit(&vm->stops, 1, memory_order_release);
		if (vm->vcpu_count > 1) {
			atomic_fetch_add(&vm->news, 1);
			futex_wake(&vm->news, VCPUS_MAX);
		}
	}
	if (now_ns() - vcpu->left_guest_ns > PAUSE_EXCUSED_NS)
		clocks_excuse_pause(vcpu);
	arm_timer(vcpu);
}

/* ---- running ---- */

static void handle_full_list(struct vcpu *vcpu)
{
	struct ftd_vm *vm = vcpu->vm;

	/* `mt` brings all vCPUs out, each with this exit: the first one counts. */
	if (!(atomic_load(&vm->requests) & STOP_LIST_FULL))
		count(&vm->counters->threshold_exits, 1);
	vm_request_stop(vm, STOP_LIST_FULL);
	vcpu->run->immediate_exit = 1;
}

static void finish(struct vcpu *vcpu, int64_t detail)
{
	vcpu->finished = true;
	events_post(&vcpu->vm->events, FTD_EVENT_GUEST_STOPPED, vcpu->index, 0, detail);
}

/* A guest that has ended itself ends on all vCPUs. */
static void finish_if_ended(struct vcpu *vcpu)
{
	struct ftd_vm *vm = vcpu->vm;
	uint32_t ended = __atomic_load_n(&vm->power.ended, __ATOMIC_RELAXED);

	if (!ended || vcpu->finished)
		return;
	finish(vcpu, ended);
	vm_request_stop(vm, 0);	/* the others come out and look here, too */
}

/* A vCPU that runs no more still has to be at every stop. */
static void idle(struct vcpu *vcpu)
{
	futex_wait(&vcpu->vm->requests, 0, FTD_MS);
	if (atomic_load(&vcpu->vm->requests))
		stop_point(vcpu);
}

static void run_once(struct vcpu *vcpu)
{
	struct kvm_run *run = vcpu->run;

	if (ioctl(vcpu->fd, KVM_RUN, 0) < 0) {
		if (errno != EINTR && errno != EAGAIN) {
			finish(vcpu, -errno);
			return;
		}
		/*
		 * Cleared before the requests are looked at: a request that is made
		 * after the look sets it again, by the signal that follows it.
		 */
		run->immediate_exit = 0;
		atomic_signal_fence(memory_order_seq_cst);
		stop_point(vcpu);
		return;
	}
	switch (run->exit_reason) {
	case KVM_EXIT_IO:
		exit_io(vcpu);
		break;
	case KVM_EXIT_MMIO:
		exit_mmio(vcpu);
		break;
	case KVM_EXIT_DIRTY_RING_FULL:
	case KVM_EXIT_MEMORY_TRACKING:
		/* The dirty-page threshold. KVM lets this vCPU in again only after a harvest, and comes back here else. */
		handle_full_list(vcpu);
		break;
	case KVM_EXIT_IRQ_WINDOW_OPEN:
	case KVM_EXIT_INTR:
		break;
	case KVM_EXIT_SYSTEM_EVENT:
		finish(vcpu, FTD_STOP_SYSTEM + (int64_t)run->system_event.type);
		break;
	default:
		finish(vcpu, (int64_t)run->exit_reason);
	}
}

void *vcpu_main(void *argument)
{
	struct vcpu *vcpu = argument;
	struct ftd_vm *vm = vcpu->vm;
	sigset_t wanted;

	self = vcpu;
	sigemptyset(&wanted);
	sigaddset(&wanted, VCPU_SIGNAL);
	pthread_sigmask(SIG_UNBLOCK, &wanted, NULL);
	pthread_mutex_lock(&vm->parking);
	while (!vm->running && !atomic_load(&vm->dying))
		pthread_cond_wait(&vm->unpark, &vm->parking);
	pthread_mutex_unlock(&vm->parking);
	while (!atomic_load(&vm->dying)) {
		finish_if_ended(vcpu);
		if (vcpu->finished)
			idle(vcpu);
		else
			run_once(vcpu);
	}
	return NULL;
}

/* ---- control, from other threads ---- */

int vm_run_stopped(struct ftd_vm *vm, vm_command command, void *argument)
{
	int result;

	pthread_mutex_lock(&vm->control);
	pthread_mutex_lock(&vm->parking);
	if (!vm->running || vm->parked) {
		result = command(vm, argument);
	} else {
		vm->command = command;
		vm->command_argument = argument;
		vm_request_stop(vm, STOP_COMMAND);
		while (vm->command && !atomic_load(&vm->dying))
			pthread_cond_wait(&vm->command_done, &vm->parking);
		result = vm->command_result;
	}
	pthread_mutex_unlock(&vm->parking);
	pthread_mutex_unlock(&vm->control);
	return result;
}

void vm_unpark(struct ftd_vm *vm)
{
	pthread_mutex_lock(&vm->parking);
	vm->parked = false;
	vm->park_wanted = false;
	pthread_cond_broadcast(&vm->unpark);
	pthread_mutex_unlock(&vm->parking);
}

static int command_pause(struct ftd_vm *vm, void *argument)
{
	(void)argument;
	if (!vm->parked)
		vm->park_wanted = true;
	return 0;
}

int ftd_vm_pause(ftd_vm *vm, ftd_error *error)
{
	if (!vm->running)
		return ftd_fail(error, EINVAL, "the VM does not run");
	vm_run_stopped(vm, command_pause, NULL);
	pthread_mutex_lock(&vm->parking);
	while (!vm->parked && !atomic_load(&vm->dying))
		pthread_cond_wait(&vm->command_done, &vm->parking);
	pthread_mutex_unlock(&vm->parking);
	return 0;
}

int ftd_vm_resume(ftd_vm *vm, ftd_error *error)
{
	if (!vm->running)
		return ftd_fail(error, EINVAL, "the VM does not run");
	vm_unpark(vm);
	return 0;
}

static int install_handler(ftd_error *error)
{
	struct sigaction action = { .sa_handler = on_vcpu_signal, .sa_flags = SA_RESTART };

	if (sigaction(VCPU_SIGNAL, &action, NULL) < 0)
		return ftd_fail(error, errno, "installing the vCPU signal handler: %s", strerror(errno));
	return 0;
}

static int start_vcpu(struct vcpu *vcpu, ftd_error *error)
{
	struct sigevent event = { .sigev_notify = SIGEV_THREAD_ID, .sigev_signo = VCPU_SIGNAL };
	int result = thread_start(&vcpu->thread, "vcpu", vcpu_main, vcpu, &vcpu->tid);

	if (result)
		return ftd_fail(error, result, "starting the thread of vCPU %u: %s", vcpu->index, strerror(result));
	vcpu->thread_started = true;
	event._sigev_un._tid = atomic_load(&vcpu->tid);
	if (timer_create(CLOCK_BOOTTIME, &event, &vcpu->timer) < 0)
		return ftd_fail(error, errno, "making the timer of vCPU %u: %s", vcpu->index, strerror(errno));
	vcpu->timer_made = true;
	return 0;
}

int ftd_vm_run(ftd_vm *vm, ftd_error *error)
{
	if (vm->running || atomic_load(&vm->dying))
		return ftd_fail(error, EBUSY, "the VM runs already, or has ended");
	if (install_handler(error) < 0 || io_start(vm, error) < 0)
		return -1;
	pthread_mutex_lock(&vm->devices);
	for (uint32_t i = 0; i < VIRTIO_DEVICES; i++)
		virtio_resume(vm, &vm->virtio[i]);
	serial_resume(vm);
	pthread_mutex_unlock(&vm->devices);
	if (clocks_start(vm, error) < 0)
		return -1;
	/* Nobody runs before every thread has its timer. */
	for (uint32_t i = 0; i < vm->vcpu_count; i++)
		if (start_vcpu(&vm->vcpus[i], error) < 0)
			return -1;
	if (disk_start(vm, error) < 0)
		return -1;
	pthread_mutex_lock(&vm->parking);
	vm->running = true;
	pthread_cond_broadcast(&vm->unpark);
	pthread_mutex_unlock(&vm->parking);
	return 0;
}

void ftd_vm_kill(ftd_vm *vm)
{
	atomic_store(&vm->output.shut, true);
	atomic_store(&vm->dying, true);
	vm_unpark(vm);
	pthread_mutex_lock(&vm->parking);
	pthread_cond_broadcast(&vm->command_done);
	pthread_mutex_unlock(&vm->parking);
	vm_request_stop(vm, STOP_COMMAND);
	atomic_fetch_add(&vm->news, 1);
	futex_wake(&vm->news, VCPUS_MAX);
	for (uint32_t i = 0; i < vm->vcpu_count; i++) {
		struct vcpu *vcpu = &vm->vcpus[i];

		if (vcpu->thread_started)
			pthread_join(vcpu->thread, NULL);
		vcpu->thread_started = false;
		atomic_store(&vcpu->tid, 0);
		if (vcpu->timer_made)
			timer_delete(vcpu->timer);
		vcpu->timer_made = false;
	}
	disk_stop(vm);
	io_stop(vm);
	vm->running = false;
}
