/* SPDX-License-Identifier: Apache-2.0 */
#include "steps.h"

#include "disk.h"
#include "memory_map.h"
#include "primary.h"

static const struct share_rule copy_rule = { .worth_from = 192, .piece = 32 };

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

bool step_has_room(struct ftd_primary *primary)
{
	uint64_t unacknowledged = atomic_load_explicit(&primary->sealed, memory_order_relaxed) -
				  atomic_load_explicit(&primary->acked, memory_order_acquire);

	return arena_is_free(primary) && unacknowledged < primary->cycle.epochs_in_flight;
}

bool step_wait(struct ftd_primary *primary, bool (*condition)(struct ftd_primary *), bool patient)
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

bool step_wait_for_room(struct ftd_primary *primary, bool (*room)(struct ftd_primary *), bool patient)
{
	ftd_counters *counters = primary->vm->counters;
	uint64_t began, waited;
	bool made;

	if (room(primary))
		return true;
	began = now_ns();
	made = step_wait(primary, room, patient);
	waited = now_ns() - began;
	primary->stalled_ns += waited;
	count(&counters->stalls, 1);
	count(&counters->stall_ns, waited);
	return made;
}

void step_queue(struct ftd_primary *primary)
{
	/* seq_cst on both: either we see the sender idle, or it sees the arena. */
	atomic_fetch_add(&primary->queued, 1);
	primary_wake_sender(primary);
}

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
	disk_room_made(vm, ROOM_FOR_MARKS);
}

int step_collect(struct ftd_primary *primary)
{
	struct ftd_vm *vm = primary->vm;
	int error = vm->tracker->collect(vm, &primary->sync);

	primary->harvested.count = 0;
	take_marks(vm, &primary->harvested, 0);
	for (uint32_t i = 0; i < primary->harvested.count; i++)
		sync_mark(&primary->sync, primary->harvested.pages[i] / 64, 1ull << (primary->harvested.pages[i] % 64));
	return error;
}

void step_ship(struct ftd_primary *primary, uint64_t page, uint64_t lines)
{
	if (primary->ship.count < primary->ship.max)
		primary->ship_lines[primary->ship.count] = lines;
	page_list_add(&primary->ship, page);
}

static void judge_pages(struct ftd_primary *primary, uint32_t reported)
{
	struct ftd_vm *vm = primary->vm;
	uint32_t epoch = (uint32_t)(atomic_load_explicit(&primary->sealed, memory_order_relaxed) + 1);
	uint64_t began = now_ns();

	primary->ship.count = primary->rearm.count = 0;
	for (uint32_t i = 0; i < primary->harvested.count; i++) {
		uint64_t page = primary->harvested.pages[i];
		const char *contents = vm->memory + (page << FTD_PAGE_SHIFT);
		struct hot_verdict verdict;

		if (i >= reported) {	/* written by the device model: the tracker knows nothing of it */
			hotset_shipped(&primary->hot, page, contents);
			step_ship(primary, page, 0);
			continue;
		}
		verdict = hotset_judge(&primary->hot, page, contents, epoch, vm->counters);
		if (verdict.ship)
			step_ship(primary, page, verdict.lines);
		if (verdict.rearm)
			page_list_add(&primary->rearm, page);
	}
	count(&vm->counters->judge_ns, now_ns() - began);
}

int step_harvest(struct ftd_primary *primary)
{
	struct ftd_vm *vm = primary->vm;
	uint64_t began = now_ns(), took;
	uint32_t reported;
	int error;

	primary->harvested.count = 0;
	primary->harvested.overflow = false;
	primary->shipped = 0;
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
	primary->step = STEP_HARVESTED;
	/* What the standby has no arenas for is not sent: it would refuse the part after its last one. */
	return primary->ship.count > primary->link.epoch_pages_max * primary->link.parts_max ? -EOVERFLOW : 0;
}

struct copy {
	const uint64_t *pages, *lines;
	const uint32_t *offsets;
	char *to;
};

static void copy_lines(char *to, const char *from, uint64_t lines)
{
	memcpy(to, &lines, sizeof(lines));
	to += sizeof(lines);
	for (; lines; lines &= lines - 1, to += LINE_BYTES)
		memcpy(to, from + (unsigned int)__builtin_ctzll(lines) * LINE_BYTES, LINE_BYTES);
}

static void copy_piece(struct ftd_vm *vm, void *argument, uint32_t first, uint32_t n)
{
	const struct copy *copy = argument;

	for (uint32_t i = first; i < first + n; i++) {
		const char *from = vm->memory + (copy->pages[i] << FTD_PAGE_SHIFT);

		if (copy->lines[i])
			copy_lines(copy->to + copy->offsets[i], from, copy->lines[i]);
		else
			memcpy(copy->to + copy->offsets[i], from, FTD_PAGE_SIZE);
	}
}

static uint64_t entry_for(uint64_t page, uint64_t lines)
{
	uint64_t entry = gfn_of(page);	/* encoding RAW is 0 */

	if (lines)
		entry |= (uint64_t)ENCODING_DELTA << ENTRY_GFN_BITS |
			 (uint64_t)__builtin_popcountll(lines) << ENTRY_LINES_SHIFT;
	return entry;
}

static void fill_arena(struct ftd_primary *primary, uint32_t pages)
{
	struct arena *arena = arena_to_fill(primary);
	struct copy copy = { .pages = primary->ship.pages + primary->shipped,
			     .lines = primary->ship_lines + primary->shipped,
			     .offsets = primary->offsets, .to = arena->pages };

	arena->pages_len = 0;
	for (uint32_t i = 0; i < pages; i++) {
		arena->list[i] = entry_for(copy.pages[i], copy.lines[i]);
		primary->offsets[i] = arena->pages_len;
		arena->pages_len += entry_len(arena->list[i]);
	}
	share_post(primary->vm, copy_rule, pages, copy_piece, &copy);
	arena->epoch = atomic_load_explicit(&primary->sealed, memory_order_relaxed) + 1;
	arena->count = pages;
	arena->state_len = 0;
	arena->disk.used = 0;
	arena->type = FRAME_PART;
	primary->shipped += pages;
}

int step_copy(struct ftd_primary *primary)
{
	uint32_t capacity = primary->link.epoch_pages_max;
	uint64_t began = now_ns();

	while (primary->ship.count - primary->shipped > capacity) {
		if (!step_wait_for_room(primary, arena_is_free, true))
			return -EPIPE;
		fill_arena(primary, capacity);
		count(&primary->vm->counters->parts, 1);
		step_queue(primary);
	}
	if (!step_wait_for_room(primary, arena_is_free, true))
		return -EPIPE;
	fill_arena(primary, primary->ship.count - primary->shipped);
	primary->step = STEP_COPIED;
	count(&primary->vm->counters->copy_ns, now_ns() - began);
	return 0;
}

int step_rearm(struct ftd_primary *primary)
{
	struct ftd_vm *vm = primary->vm;
	uint64_t began = now_ns();
	int error = vm->tracker->rearm(vm, primary->rearm.pages, primary->rearm.count);

	count(&vm->counters->rearm_ns, now_ns() - began);
	return error;
}

void step_seal(struct ftd_primary *primary)
{
	struct ftd_vm *vm = primary->vm;
	struct arena *arena = arena_to_fill(primary);
	uint64_t epoch = arena->epoch;

	arena->type = FRAME_EPOCH;
	primary->sealed_ns[epoch % EPOCH_MARKS] = now_ns();
	output_mark(&vm->output, epoch);
	disk_seal(vm, &arena->disk);
	/* Release: whoever reads `sealed` sees mark and time of that epoch. */
	atomic_store_explicit(&primary->sealed, epoch, memory_order_release);
	primary->step = STEP_SEALED;
	count(&vm->counters->epochs_sealed, 1);
	count(&vm->counters->pages, primary->ship.count);
}

int step_capture(struct ftd_primary *primary)
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

/* ---- the steps one by one, for a guest that somebody else has stopped ---- */

static int step_error(ftd_error *error, const char *step, int code)
{
	return code ? ftd_fail(error, -code, "%s: %s", step, strerror(-code)) : 0;
}

/* A step out of turn would lose pages: what was harvested is not reported again, what was copied would be dropped. */
static int check_order(const struct ftd_primary *primary, enum checkpoint_step last, ftd_error *error)
{
	static const char *const next[] = { "harvest", "copy", "seal" };

	if (primary->cycle.period_ns || !primary->first_sealed)
		return ftd_fail(error, EINVAL, "the cycle is not paced by hand, or memory is not synchronised yet");
	if (primary->step != last)
		return ftd_fail(error, EINVAL, "the next step is to %s, not to %s", next[primary->step], next[last]);
	return 0;
}

int ftd_primary_harvest(ftd_primary *primary, uint64_t *gfns, uint32_t gfns_max, uint32_t *gfn_count,
			ftd_error *error)
{
	struct ftd_vm *vm = primary->vm;
	int code;

	if (check_order(primary, STEP_SEALED, error) < 0)
		return -1;
	if (!step_wait_for_room(primary, step_has_room, false))
		return ftd_fail(error, EPIPE, "the standby is lost");
	pthread_mutex_lock(&vm->devices);
	code = step_harvest(primary);
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
	int code;

	if (check_order(primary, STEP_HARVESTED, error) < 0)
		return -1;
	code = step_copy(primary);
	if (!code)
		code = step_rearm(primary);
	return step_error(error, "copy", code);
}

int ftd_primary_seal(ftd_primary *primary, const void *state, uint32_t state_len, uint64_t *epoch, ftd_error *error)
{
	struct arena *arena = arena_to_fill(primary);

	if (check_order(primary, STEP_COPIED, error) < 0)
		return -1;
	if (state_len > STATE_MAX_BYTES)
		return ftd_fail(error, E2BIG, "a state of %u bytes is more than the limit of %u", state_len,
				STATE_MAX_BYTES);
	memcpy(arena->state, state, state_len);
	arena->state_len = state_len;
	pthread_mutex_lock(&primary->vm->devices);
	step_seal(primary);
	pthread_mutex_unlock(&primary->vm->devices);
	*epoch = arena->epoch;
	step_queue(primary);
	return 0;
}
