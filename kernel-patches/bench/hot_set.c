// SPDX-License-Identifier: GPL-2.0-only
/*
 * A guest that writes the same pages all the time, stopped at a fixed rate. The ring (and MT without hot set)
 * arms them anew at each checkpoint: each costs a fault again. With a hot set they stay writable, and each
 * checkpoint compares them with their last copies.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "benches.h"
#include "guest.h"
#include <linux/kvm_mt.h>
#include "machines.h"
#include "sys.h"

#ifndef sigev_notify_thread_id
#define sigev_notify_thread_id _sigev_un._tid
#endif

#define MEMORY_BYTES	(64UL << 20)
#define HOT_PAGES	100
#define SPIN		20	/* after each page */
#define ARENA_PAGES	1024
#define TURNS		3
#define SECOND_NS	1000000000UL

static struct {
	struct harvest harvest;
	uint8_t *pages;
} arena;

/* The pages that were left writable, and what they held at the last checkpoint. */
static struct {
	uint32_t count;
	uint64_t gfns[ARENA_PAGES];
	uint8_t *copies;
} hot;

static struct kvm_run *interrupted;

static void on_tick(int signal)
{
	(void)signal;
	interrupted->immediate_exit = 1;	/* the signal may come before KVM_RUN */
}

static const uint8_t *page_of(const struct machine *machine, uint64_t gfn)
{
	return vm_memory() + (gfn - machine->vm.first_gfn) * PAGE_BYTES;
}

static void copy_and_arm(struct machine *machine, const struct method *method)
{
	struct harvest *harvest = &arena.harvest;

	harvest->count = 0;
	method->run(&machine->tracker, harvest);
	if (harvest->count > ARENA_PAGES)
		die("%u dirty pages in an epoch: more than the arena's %d", harvest->count, ARENA_PAGES);
	for (uint32_t i = 0; i < harvest->count; i++)
		memcpy(arena.pages + i * PAGE_BYTES, page_of(machine, harvest->gfns[i]), PAGE_BYTES);
}

static void keep_hot(struct machine *machine)
{
	struct kvm_mt_prepare sealed = mt_seal(&machine->tracker, KVM_MT_PREPARE_RELEASE);
	const uint64_t *entries = machine->tracker.mt_lists + (uint64_t)sealed.list * LIST_MAX;
	uint32_t known = hot.count;

	if (known + sealed.count > ARENA_PAGES)
		die("%u hot pages: more than %d", known + sealed.count, ARENA_PAGES);
	for (uint32_t i = 0; i < sealed.count; i++)
		hot.gfns[hot.count++] = KVM_MT_ENTRY_GFN(entries[i]);
	for (uint32_t i = 0; i < hot.count; i++) {
		uint8_t *copy = hot.copies + i * PAGE_BYTES;
		const uint8_t *page = page_of(machine, hot.gfns[i]);

		if (i >= known || memcmp(copy, page, PAGE_BYTES))
			memcpy(copy, page, PAGE_BYTES);
	}
}

static timer_t start_ticks(unsigned int rate)
{
	struct sigaction action = { .sa_handler = on_tick };
	struct sigevent event = { .sigev_notify = SIGEV_THREAD_ID, .sigev_signo = SIGUSR1 };
	struct timespec period = { .tv_sec = rate == 1, .tv_nsec = (long)(SECOND_NS / rate % SECOND_NS) };
	struct itimerspec ticks = { .it_interval = period, .it_value = period };
	timer_t timer;

	event.sigev_notify_thread_id = (int)syscall(SYS_gettid);
	if (sigaction(SIGUSR1, &action, NULL) || timer_create(CLOCK_MONOTONIC, &event, &timer) ||
	    timer_settime(timer, 0, &ticks, NULL))
		die("a timer of %u ticks a second", rate);
	return timer;
}

/* method: NULL for MT with the hot set. */
static void run_for(struct machine *machine, const struct method *method, uint64_t duration_ns,
		    uint64_t *checkpoints, uint64_t *pause_ns)
{
	struct vcpu *vcpu = &machine->vm.vcpus[0];
	uint64_t end_ns = now_ns() + duration_ns;

	for (*checkpoints = 0, *pause_ns = 0;; ++*checkpoints) {
		uint32_t reason = vm_enter(vcpu);
		uint64_t out_ns = now_ns();

		if (reason != KVM_EXIT_INTR)
			die("the guest was left for reason %u, not for a tick", reason);
		if (out_ns >= end_ns)
			return;
		vcpu->run->immediate_exit = 0;
		if (method)
			copy_and_arm(machine, method);
		else
			keep_hot(machine);
		*pause_ns += now_ns() - out_ns;
	}
}

static void take_turn(int kvm_fd, unsigned int turn, enum tracker_kind kind, const struct method *method,
		      const struct options *options)
{
	uint64_t checkpoints, pause_ns, rounds, start_ns;
	struct machine machine;
	timer_t timer;

	machine_create(&machine, kvm_fd, kind, MEMORY_BYTES, 1);
	hot.count = 0;
	guest_aim_hot(&machine.vm, HOT_PAGES, SPIN);
	interrupted = machine.vm.vcpus[0].run;
	timer = start_ticks(options->hot_rate);
	/* Pages come into being, and become hot. */
	run_for(&machine, method, SECOND_NS / 2, &checkpoints, &pause_ns);
	rounds = guest_hot_rounds();
	start_ns = now_ns();
	run_for(&machine, method, options->hot_seconds * SECOND_NS, &checkpoints, &pause_ns);
	printf("{\"kind\": \"hot_set\", \"turn\": %u, \"method\": \"%s\", \"pages\": %d, \"rate\": %u, "
	       "\"seconds\": %.6f, \"checkpoints\": %lu, \"guest_rounds\": %lu, \"pause_ns\": %lu}\n", turn,
	       method ? method->name : "mt-hot", HOT_PAGES, options->hot_rate,
	       (double)(now_ns() - start_ns) / (double)SECOND_NS, checkpoints, guest_hot_rounds() - rounds,
	       checkpoints ? pause_ns / checkpoints : 0);
	fflush(stdout);
	timer_delete(timer);
	machine_destroy(&machine);
}

void bench_hot_set(int kvm_fd, const struct options *options)
{
	static const struct method ring = { "ring", TRACKER_RING, run_ring };
	static const struct method mt = { "mt", TRACKER_MT, run_mt };

	arena.harvest.gfns = allocate(LIST_MAX * sizeof(uint64_t), "the list");
	arena.pages = allocate(ARENA_PAGES * PAGE_BYTES, "an arena");
	hot.copies = allocate(ARENA_PAGES * PAGE_BYTES, "the hot set");
	for (unsigned int turn = 0; turn < TURNS; turn++) {
		if (tracker_supported(kvm_fd, TRACKER_RING))
			take_turn(kvm_fd, turn, TRACKER_RING, &ring, options);
		if (!tracker_supported(kvm_fd, TRACKER_MT))
			continue;
		take_turn(kvm_fd, turn, TRACKER_MT, &mt, options);
		take_turn(kvm_fd, turn, TRACKER_MT, NULL, options);
	}
}
