/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The checkpoint cycle. Everything here runs while all vCPUs stand at the stop
 * point, on the leader's thread. It allocates nothing, logs nothing, touches
 * no file and takes no lock but vm->devices (and, once, for the first epoch,
 * the two that order it against the sender and against the loss of the peer).
 *
 * Order within a seal:
 *   harvest   which pages; from here on a page is either in this epoch or not written
 *   copy      into the arena
 *   re-arm    after the copy: until then a page is not reported a second time,
 *             and the vCPUs stand, so nothing can be written between the two
 *   mark      how far output of this epoch reaches
 *   queue     hand the arena to the sender
 */
#include "cycle.h"

#include "disk.h"
#include "fault.h"
#include "primary.h"
#include "steps.h"

#define TICK_CATCH_UP_NS (100 * FTD_MS)
#define RUN_EXTRA_MAX_NS (10 * FTD_MS)
#define ECHO_PATIENCE_NS (5000 * FTD_MS)

void cycle_failed(struct ftd_primary *primary, int error)
{
	primary_lost(primary, FTD_LOST_LOCAL, error);
}

static int seal_epoch(struct ftd_primary *primary)
{
	int error;

	fault_point(FAULT_SEAL_BEFORE_HARVEST);
	error = step_harvest(primary);
	if (error)
		return error;
	fault_point(FAULT_SEAL_BEFORE_COPY);
	error = step_copy(primary);
	if (error)
		return error;
	fault_point(FAULT_SEAL_BEFORE_REARM);
	error = step_rearm(primary);
	if (!error)
		error = step_capture(primary);
	if (!error)
		step_seal(primary);
	return error;
}

static void give_up_if_lost(struct ftd_primary *primary)
{
	struct ftd_vm *vm = primary->vm;

	atomic_store(&vm->next_tick_ns, 0);
	if (primary->first_sealed) {
		/* Until it is decided who goes on. Whoever ends the pair has decided it. */
		if (!atomic_load(&primary->ending))
			vm->park_wanted = true;
		return;
	}
	/* The standby never had a whole epoch: nobody else can have this guest. */
	vm->mode = MODE_PLAIN;
	vm_end_tracking(vm);
	pthread_mutex_lock(&vm->devices);
	vm->marking = false;
	disk_detach(vm);
	pthread_mutex_unlock(&vm->devices);
}

/*
 * A guest that was held for long, by a slow link or a slow host, would hardly
 * run between two checkpoints of a fast schedule: it gets half of that time,
 * and the rate falls. Not one whose epochs are large already: they would grow
 * with the time that it gets, and only some trackers bound them.
 */
static uint64_t run_at_least_ns(const struct ftd_primary *primary, uint64_t held_ns)
{
	uint64_t extra = min_u64(held_ns / 2, RUN_EXTRA_MAX_NS);

	return primary->ship.count > primary->link.epoch_pages_max / 8 ? primary->cycle.run_min_ns :
									  max_u64(primary->cycle.run_min_ns, extra);
}

/*
 * Due times stay on one schedule, so that a stop that came late does not make
 * all later ones late: the asked-for rate holds on average. What is more than
 * TICK_CATCH_UP_NS behind is given up.
 */
static void set_next_tick(struct ftd_primary *primary, uint64_t left_guest_ns)
{
	struct ftd_vm *vm = primary->vm;
	uint64_t now = now_ns(), period_ns;

	if (!primary->cycle.period_ns) {
		atomic_store(&vm->next_tick_ns, 0);
		return;
	}
	/* A checkpoint before its time (a full list, or a full log of the disk) does not put the next one off. */
	period_ns = pace_stretched(atomic_load_explicit(&primary->pace.stretch, memory_order_relaxed),
				   primary->cycle.period_ns);
	count_set(&vm->counters->period_ns, period_ns);
	count_set(&vm->counters->period_asked_ns, primary->cycle.period_ns);
	primary->due_ns = min_u64(primary->due_ns, now) + period_ns;
	if (primary->due_ns + TICK_CATCH_UP_NS < now)
		primary->due_ns = now + period_ns;
	atomic_store_explicit(&vm->next_tick_ns,
			      max_u64(primary->due_ns, now + run_at_least_ns(primary, now - left_guest_ns)),
			      memory_order_relaxed);
}

static void handle_error(struct ftd_primary *primary, int error)
{
	if (error == -EOVERFLOW)
		primary_lost(primary, FTD_LOST_OVERFLOW, primary->harvested.count);
	else if (error != -EPIPE)
		cycle_failed(primary, error);
	give_up_if_lost(primary);
}

static bool still_wanted(struct ftd_primary *primary)
{
	/* Nothing came of the tick if protection is paced by hand, or a drain has its last epoch. */
	uint64_t drain = atomic_load(&primary->drain_epoch);

	return primary->cycle.period_ns && !(drain && atomic_load(&primary->sealed) >= drain);
}

void cycle_stop(struct ftd_primary *primary, uint64_t left_guest_ns)
{
	struct ftd_vm *vm = primary->vm;
	uint64_t gathered_ns;
	int error;

	if (atomic_load(&primary->lost)) {
		give_up_if_lost(primary);
		return;
	}
	if (!still_wanted(primary))
		return;
	gathered_ns = now_ns() - left_guest_ns;
	primary->stalled_ns = 0;
	if (!step_wait_for_room(primary, step_has_room, false)) {
		if (atomic_load(&primary->lost))
			give_up_if_lost(primary);
		return;	/* the command comes first; the tick is still due */
	}
	pthread_mutex_lock(&vm->devices);
	error = seal_epoch(primary);
	pthread_mutex_unlock(&vm->devices);
	if (error) {
		handle_error(primary, error);
		return;
	}
	fault_point(FAULT_SEAL_BEFORE_QUEUE);
	step_queue(primary);
	count(&vm->counters->gather_ns, gathered_ns);
	if (atomic_load(&primary->drain_epoch)) {
		atomic_store(&vm->next_tick_ns, 0);
		vm->park_wanted = true;
	} else {
		set_next_tick(primary, left_guest_ns);
	}
	/* A stall is not the checkpoint's work; it is counted by itself. */
	histogram_add(vm->counters->pause_hist, now_ns() - left_guest_ns - primary->stalled_ns);
}

/* All pending pages into one arena. The sender is between two batches: sync_lock is held. */
static void list_pending(struct ftd_primary *primary)
{
	uint64_t words = (primary->vm->pages + 63) / 64;

	primary->ship.count = primary->rearm.count = primary->shipped = 0;
	for (uint64_t i = 0; i < words; i++) {
		uint64_t word = atomic_exchange_explicit(&primary->sync.words[i], 0, memory_order_relaxed);

		for (; word; word &= word - 1)
			step_ship(primary, i * 64 + (unsigned int)__builtin_ctzll(word), 0);
	}
	atomic_store(&primary->sync.pending, 0);
}

/* Epoch 1 comes into being unless the peer was lost first. */
static bool decide_first(struct ftd_primary *primary)
{
	bool go;

	pthread_mutex_lock(&primary->fate);
	go = !atomic_load(&primary->lost);
	if (go) {
		primary->first_sealed = true;
		output_gate(&primary->vm->output);
		events_post(&primary->vm->events, FTD_EVENT_FIRST_SEALED, 0, 1, 0);
	}
	pthread_mutex_unlock(&primary->fate);
	return go;
}

static int seal_first(struct ftd_primary *primary)
{
	struct ftd_vm *vm = primary->vm;
	int error;

	list_pending(primary);
	error = step_copy(primary);
	if (!error)
		error = step_capture(primary);
	if (error)
		return error;
	if (!decide_first(primary))
		return -EPIPE;
	step_seal(primary);
	vm->mode = primary->cycle.period_ns ? MODE_CYCLE : MODE_MUTE;
	fault_point(FAULT_ENTER_FIRST_SEALED);
	step_queue(primary);
	return 0;
}

/*
 * From epoch 1 on output waits for fresh echoes. Over a link that never brings
 * any it would wait for ever, so protection does not begin there.
 */
static int seal_first_if_echoes_are_fresh(struct ftd_primary *primary)
{
	uint64_t now = now_ns();

	if (!output_proof_is_old(&primary->vm->output))
		return seal_first(primary);
	if (!primary->postponed_ns)
		primary->postponed_ns = now;
	if (now - primary->postponed_ns < ECHO_PATIENCE_NS)
		return 0;
	primary_lost(primary, FTD_LOST_SLOW, (int64_t)primary->vm->counters->echo_ns);
	return -EPIPE;
}

static bool sync_is_within_limit(struct ftd_primary *primary)
{
	return atomic_load(&primary->sync.pending) <= primary->sync_limit || atomic_load(&primary->disk.busy);
}

/*
 * ftd/replication/first_sync.py has the rule, and why it always ends: what may
 * be pending shrinks by a tenth of what was sent, and a guest that dirtied
 * more than that waits here until enough of it has gone.
 */
static void hold_guest_back(struct ftd_primary *primary)
{
	uint64_t sent = atomic_exchange(&primary->sync_sent, 0);
	uint64_t shrink = (sent + 9) / 10, pending = atomic_load(&primary->sync.pending), began = now_ns();
	uint64_t allowed = primary->sync_limit > shrink ? primary->sync_limit - shrink : 0;

	allowed = max_u64(allowed, primary->link.epoch_pages_max);
	primary->sync_limit = min_u64(allowed, pending);
	if (pending <= allowed)
		return;
	step_wait(primary, sync_is_within_limit, false);
	count(&primary->vm->counters->sync_throttle_ns, now_ns() - began);
}

void cycle_sync_stop(struct ftd_primary *primary)
{
	struct ftd_vm *vm = primary->vm;
	uint64_t stopped_ns = now_ns();
	int error;

	if (atomic_load(&primary->lost)) {
		give_up_if_lost(primary);
		return;
	}
	pthread_mutex_lock(&vm->devices);
	error = step_collect(primary);
	if (!error) {
		pthread_mutex_lock(&primary->sync_lock);
		if (atomic_load(&primary->sync.pending) <= primary->link.epoch_pages_max &&
		    atomic_load(&primary->disk.done))
			error = seal_first_if_echoes_are_fresh(primary);
		pthread_mutex_unlock(&primary->sync_lock);
	}
	pthread_mutex_unlock(&vm->devices);
	if (error) {
		handle_error(primary, error);
		return;
	}
	if (primary->first_sealed) {
		set_next_tick(primary, stopped_ns);
		histogram_add(vm->counters->pause_hist, now_ns() - stopped_ns);
		return;
	}
	/* While the sender is at the disk no memory goes: nothing would come of waiting. */
	if (!atomic_load(&primary->disk.busy))
		hold_guest_back(primary);
	atomic_store(&vm->next_tick_ns, now_ns() + SYNC_PERIOD_NS);
}
