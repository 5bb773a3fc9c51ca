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

#include "io.h"
#include "fault.h"
#include "memory_map.h"
#include "primary.h"

#define TICK_CATCH_UP_NS (100 * FTD_MS)

static struct arena *arena_to_fill(struct ftd_primary *primary)
{
	return &primary->arenas[atomic_load(&primary->queued) % primary->cycle.epochs_in_flight];
}

static bool arena_is_free(struct ftd_primary *primary)
{
	/* Acquire: the sender has read the arena to its end before it counted it as sent. */
	uint64_t sent = atomic_load_explicit(&primary->sent, memory_order_acquire);

	return atomic_load_explicit(&primary->queued, memory_order_relaxed) - sent < primary->cycle.epochs_in_flight;
}

static bool has_room(struct ftd_primary *primary)
{
	uint64_t unacknowledged = atomic_load_explicit(&primary->sealed, memory_order_relaxed) -
				  atomic_load_explicit(&primary->acked, memory_order_acquire);

	return arena_is_free(primary) && unacknowledged < primary->cycle.epochs_in_flight;
}

/* false: given up, because the peer is lost, the VM dies or a command wants in (`patient`: not for that). */
static bool wait_for(struct ftd_primary *primary, bool (*condition)(struct ftd_primary *), bool patient)
{
	struct ftd_vm *vm = primary->vm;

	for (;;) {
		uint32_t room = atomic_load(&primary->room);

		/* Announce the wait, then look again: whoever makes room looks at the announcement after it. */
		atomic_store(&primary->room_wanted, 1);
		if (condition(primary) || atomic_load(&primary->lost) || atomic_load(&vm->dying) ||
		    (!patient && vm_stop_urgent(vm)))
			break;
		futex_wait(&primary->room, room, 10 * FTD_MS);
	}
	atomic_store(&primary->room_wanted, 0);
	return condition(primary) && !atomic_load(&primary->lost);
}

/* The same, counted: the guest waits because link or standby are slower than it writes. */
static bool wait_for_room(struct ftd_primary *primary, bool (*room)(struct ftd_primary *), bool patient)
{
	ftd_counters *counters = primary->vm->counters;
	uint64_t began;
	bool made;

	if (room(primary))
		return true;
	began = now_ns();
	made = wait_for(primary, room, patient);
	count(&counters->stalls, 1);
	count(&counters->stall_ns, now_ns() - began);
	return made;
}

static void queue_arena(struct ftd_primary *primary)
{
	/* seq_cst on both: either we see the sender idle, or it sees the arena. */
	atomic_fetch_add(&primary->queued, 1);
	primary_wake_sender(primary);
}

void cycle_failed(struct ftd_primary *primary, int error)
{
	primary->failed = true;
	primary_lost(primary, FTD_LOST_LOCAL, error);
}

/* ---- steps ---- */

/* Pages that the device model wrote and the tracker did not report. vm->devices is held. */
static void take_marks(struct ftd_vm *vm, struct page_list *list, uint32_t reported)
{
	for (uint32_t i = 0; vm->marked_count && i < reported; i++) {
		uint64_t page = list->pages[i];

		vm->marked_bitmap[page / 64] &= ~(1ull << (page % 64));
	}
	for (uint32_t i = 0; i < vm->marked_count; i++) {
		uint64_t page = vm->marked[i], bit = 1ull << (page % 64);

		if (vm->marked_bitmap[page / 64] & bit)
			page_list_add(list, page);
		vm->marked_bitmap[page / 64] &= ~bit;
	}
	vm->marked_count = 0;
}

static void judge_pages(struct ftd_primary *primary, uint32_t reported)
{
	struct ftd_vm *vm = primary->vm;
	uint32_t epoch = (uint32_t)(atomic_load_explicit(&primary->sealed, memory_order_relaxed) + 1);

	primary->ship.count = primary->rearm.count = 0;
	for (uint32_t i = 0; i < primary->harvested.count; i++) {
		uint64_t page = primary->harvested.pages[i];
		struct hot_verdict verdict;

		if (i >= reported) {	/* written by the device model: the tracker knows nothing of it */
			page_list_add(&primary->ship, page);
			continue;
		}
		verdict = hotset_judge(&primary->hot, page, vm->memory + (page << FTD_PAGE_SHIFT), epoch, vm->counters);
		if (verdict.ship)
			page_list_add(&primary->ship, page);
		if (verdict.rearm)
			page_list_add(&primary->rearm, page);
	}
}

static int harvest_step(struct ftd_primary *primary)
{
	struct ftd_vm *vm = primary->vm;
	uint64_t began = now_ns(), took;
	uint32_t reported;
	int error;

	primary->harvested.count = 0;
	primary->harvested.overflow = false;
	primary->shipped = 0;
	primary->copied = false;
	error = vm->tracker->harvest(vm, &primary->harvested);
	if (error)
		return error;
	reported = primary->harvested.count;
	take_marks(vm, &primary->harvested, reported);
	took = now_ns() - began;
	histogram_add(vm->counters->harvest_hist, took);
	count(&vm->counters->harvest_ns, took);
	if (primary->harvested.overflow)
		return -EOVERFLOW;
	judge_pages(primary, reported);
	return 0;
}

static void fill_arena(struct ftd_primary *primary, uint32_t pages)
{
	struct arena *arena = arena_to_fill(primary);
	const uint64_t *from = primary->ship.pages + primary->shipped;

	for (uint32_t i = 0; i < pages; i++)
		arena->list[i] = gfn_of(from[i]);	/* encoding RAW is 0 */
	vm_copy_pages(primary->vm, from, pages, arena->pages);
	arena->epoch = atomic_load_explicit(&primary->sealed, memory_order_relaxed) + 1;
	arena->count = pages;
	arena->state_len = 0;
	arena->type = FRAME_PART;
	primary->shipped += pages;
}

/* Fills the current arena with the last part of the list, and sends off whole arenas before it. */
static int copy_step(struct ftd_primary *primary)
{
	uint32_t capacity = primary->link.epoch_pages_max;
	uint64_t began = now_ns();

	while (primary->ship.count - primary->shipped > capacity) {
		if (!wait_for_room(primary, arena_is_free, true))
			return -EPIPE;
		fill_arena(primary, capacity);
		count(&primary->vm->counters->parts, 1);
		queue_arena(primary);
	}
	if (!wait_for_room(primary, arena_is_free, true))
		return -EPIPE;
	fill_arena(primary, primary->ship.count - primary->shipped);
	primary->copied = true;
	count(&primary->vm->counters->copy_ns, now_ns() - began);
	return 0;
}

static int rearm_step(struct ftd_primary *primary)
{
	struct ftd_vm *vm = primary->vm;
	uint64_t began = now_ns();
	int error = vm->tracker->rearm(vm, primary->rearm.pages, primary->rearm.count);

	count(&vm->counters->rearm_ns, now_ns() - began);
	return error;
}

/* The arena holds pages and state; from here on the epoch exists. */
static void seal_step(struct ftd_primary *primary)
{
	struct ftd_vm *vm = primary->vm;
	struct arena *arena = arena_to_fill(primary);
	uint64_t epoch = arena->epoch;

	arena->type = FRAME_EPOCH;
	primary->sealed_ns[epoch % EPOCH_MARKS] = now_ns();
	output_mark(&vm->output, epoch);
	/* Release: whoever reads `sealed` sees mark and time of that epoch. */
	atomic_store_explicit(&primary->sealed, epoch, memory_order_release);
	count(&vm->counters->epochs_sealed, 1);
	count(&vm->counters->pages, primary->ship.count);
}

static int capture_step(struct ftd_primary *primary)
{
	struct ftd_vm *vm = primary->vm;
	uint64_t began = now_ns();
	int error = state_capture_machine(vm);

	if (error)
		return error;
	arena_to_fill(primary)->state_len = state_length(vm);
	state_assemble(vm, arena_to_fill(primary)->state);
	count(&vm->counters->capture_ns, now_ns() - began);
	return 0;
}

static int seal_epoch(struct ftd_primary *primary)
{
	int error;

	fault_point(FAULT_SEAL_BEFORE_HARVEST);
	error = harvest_step(primary);
	if (error)
		return error;
	fault_point(FAULT_SEAL_BEFORE_COPY);
	error = copy_step(primary);
	if (error)
		return error;
	fault_point(FAULT_SEAL_BEFORE_REARM);
	error = rearm_step(primary);
	if (!error)
		error = capture_step(primary);
	if (!error)
		seal_step(primary);
	return error;
}

/* ---- stops ---- */

static void give_up_if_lost(struct ftd_primary *primary)
{
	struct ftd_vm *vm = primary->vm;

	atomic_store(&vm->next_tick_ns, 0);
	if (primary->first_sealed) {
		vm->park_wanted = true;	/* until it is decided who goes on */
		return;
	}
	/* The standby never had a whole epoch: nobody else can have this guest. */
	vm->mode = MODE_PLAIN;
	vm_set_logging(vm, false);
	pthread_mutex_lock(&vm->devices);
	vm->marking = false;
	pthread_mutex_unlock(&vm->devices);
}

/*
 * Due times stay on one schedule, so that a stop that came late does not make
 * all later ones late: the asked-for rate holds on average. What is more than
 * TICK_CATCH_UP_NS behind is given up.
 */
static void set_next_tick(struct ftd_primary *primary)
{
	struct ftd_vm *vm = primary->vm;
	uint64_t now = now_ns();

	if (!primary->cycle.period_ns) {
		atomic_store(&vm->next_tick_ns, 0);
		return;
	}
	primary->due_ns += primary->cycle.period_ns;
	if (primary->due_ns + TICK_CATCH_UP_NS < now)
		primary->due_ns = now + primary->cycle.period_ns;
	atomic_store_explicit(&vm->next_tick_ns, max_u64(primary->due_ns, now + primary->cycle.run_min_ns),
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
	int error;

	if (atomic_load(&primary->lost)) {
		give_up_if_lost(primary);
		return;
	}
	if (!still_wanted(primary))
		return;
	if (!wait_for_room(primary, has_room, false)) {
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
	queue_arena(primary);
	if (atomic_load(&primary->drain_epoch)) {
		atomic_store(&vm->next_tick_ns, 0);
		vm->park_wanted = true;
	} else {
		set_next_tick(primary);
	}
	histogram_add(vm->counters->pause_hist, now_ns() - left_guest_ns);
}

/* All pending pages into one arena. The sender is between two batches: sync_lock is held. */
static void list_pending(struct ftd_primary *primary)
{
	uint64_t words = (primary->vm->pages + 63) / 64;

	primary->ship.count = primary->rearm.count = primary->shipped = 0;
	for (uint64_t i = 0; i < words; i++) {
		uint64_t word = atomic_exchange_explicit(&primary->sync.words[i], 0, memory_order_relaxed);

		for (; word; word &= word - 1)
			page_list_add(&primary->ship, i * 64 + (unsigned int)__builtin_ctzll(word));
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
	error = copy_step(primary);
	if (!error)
		error = capture_step(primary);
	if (error)
		return error;
	if (!decide_first(primary))
		return -EPIPE;
	seal_step(primary);
	vm->mode = primary->cycle.period_ns ? MODE_CYCLE : MODE_MUTE;
	fault_point(FAULT_ENTER_FIRST_SEALED);
	queue_arena(primary);
	return 0;
}

static bool sync_is_within_limit(struct ftd_primary *primary)
{
	return atomic_load(&primary->sync.pending) <= primary->sync_limit;
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
	wait_for(primary, sync_is_within_limit, false);
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
	error = vm->tracker->collect(vm, &primary->sync);
	primary->harvested.count = 0;
	take_marks(vm, &primary->harvested, 0);
	for (uint32_t i = 0; i < primary->harvested.count; i++)
		sync_mark(&primary->sync, primary->harvested.pages[i] / 64, 1ull << (primary->harvested.pages[i] % 64));
	if (!error) {
		pthread_mutex_lock(&primary->sync_lock);
		if (atomic_load(&primary->sync.pending) <= primary->link.epoch_pages_max)
			error = seal_first(primary);
		pthread_mutex_unlock(&primary->sync_lock);
	}
	pthread_mutex_unlock(&vm->devices);
	if (error) {
		handle_error(primary, error);
		return;
	}
	if (primary->first_sealed) {
		set_next_tick(primary);
		histogram_add(vm->counters->pause_hist, now_ns() - stopped_ns);
		return;
	}
	hold_guest_back(primary);
	atomic_store(&vm->next_tick_ns, now_ns() + SYNC_PERIOD_NS);
}

/* ---- the steps one by one, for a guest that somebody else has stopped ---- */

static int step_error(ftd_error *error, const char *step, int code)
{
	return code ? ftd_fail(error, -code, "%s: %s", step, strerror(-code)) : 0;
}

int ftd_primary_harvest(ftd_primary *primary, uint64_t *gfns, uint32_t gfns_max, uint32_t *gfn_count,
			ftd_error *error)
{
	struct ftd_vm *vm = primary->vm;
	int code;

	if (primary->cycle.period_ns || !primary->first_sealed)
		return ftd_fail(error, EINVAL, "the cycle is not paced by hand, or memory is not synchronised yet");
	if (!wait_for_room(primary, has_room, false))
		return ftd_fail(error, EPIPE, "the standby is lost");
	pthread_mutex_lock(&vm->devices);
	code = harvest_step(primary);
	pthread_mutex_unlock(&vm->devices);
	if (code)
		return step_error(error, "harvest", code);
	for (uint32_t i = 0; i < primary->ship.count && i < gfns_max; i++)
		gfns[i] = gfn_of(primary->ship.pages[i]);
	*gfn_count = primary->ship.count;
	return 0;
}

int ftd_primary_copy(ftd_primary *primary, ftd_error *error)
{
	int code = copy_step(primary);

	if (!code)
		code = rearm_step(primary);
	return step_error(error, "copy", code);
}

int ftd_primary_seal(ftd_primary *primary, const void *state, uint32_t state_len, uint64_t *epoch, ftd_error *error)
{
	struct arena *arena = arena_to_fill(primary);

	if (!primary->copied)
		return ftd_fail(error, EINVAL, "nothing was harvested and copied");
	if (state_len > STATE_MAX_BYTES)
		return ftd_fail(error, E2BIG, "a state of %u bytes is more than the limit of %u", state_len,
				STATE_MAX_BYTES);
	primary->copied = false;
	memcpy(arena->state, state, state_len);
	arena->state_len = state_len;
	pthread_mutex_lock(&primary->vm->devices);
	seal_step(primary);
	pthread_mutex_unlock(&primary->vm->devices);
	*epoch = arena->epoch;
	queue_arena(primary);
	return 0;
}
