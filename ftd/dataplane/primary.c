/* SPDX-License-Identifier: Apache-2.0 */
/* The life of the active side of a pair: set up, acknowledged, lost, ended. */
#define _GNU_SOURCE
#include "primary.h"

#include <stdlib.h>
#include <sys/socket.h>

#include "disk.h"
#include "fault.h"
#include "io.h"
#include "threads.h"

void primary_wake_sender(struct ftd_primary *primary)
{
	if (atomic_load(&primary->sender_idle)) {
		atomic_fetch_add(&primary->work, 1);
		futex_wake(&primary->work, 1);
	}
}

void primary_room_made(struct ftd_primary *primary)
{
	if (atomic_load(&primary->room_wanted)) {
		atomic_fetch_add(&primary->room, 1);
		futex_wake(&primary->room, 1);
	}
}

void primary_lost(struct ftd_primary *primary, uint32_t reason, int64_t detail)
{
	bool first_sealed;

	/* Ordered against decide_first: an epoch 1 that this does not see will never be sealed. */
	pthread_mutex_lock(&primary->fate);
	if (atomic_exchange(&primary->lost, true) || atomic_load(&primary->ending)) {
		pthread_mutex_unlock(&primary->fate);
		return;
	}
	first_sealed = primary->first_sealed;
	if (first_sealed)
		atomic_store(&primary->vm->output.shut, true);
	events_post(&primary->vm->events, FTD_EVENT_PEER_LOST, reason,
		    first_sealed ? max_u64(1, atomic_load(&primary->sealed)) : 0, detail);
	pthread_mutex_unlock(&primary->fate);
	/* The gate is shut, and the standby may know it; also, the sender may sit in send(). */
	shutdown(primary->link.data_fd, SHUT_RDWR);
	shutdown(primary->link.heartbeat_fd, SHUT_RDWR);
	primary_wake_sender(primary);
	primary_room_made(primary);
	vm_request_stop(primary->vm, STOP_TICK);
}

void primary_refused(struct ftd_primary *primary, enum refusal refusal)
{
	count(&primary->vm->counters->refused[refusal], 1);
	primary_lost(primary, FTD_LOST_REFUSED, (int64_t)refusal);
}

static void heartbeat_lost(void *context, uint32_t reason, int64_t detail)
{
	primary_lost(context, reason, detail);
}

static void heartbeat_tick(void *context)
{
	struct ftd_primary *primary = context;

	placement_follow(&primary->placement, primary->vm);
	if (atomic_load(&primary->first_sealed))
		pace_follow(&primary->pace, primary->vm);
}

/* ---- acknowledgements, on the io thread ---- */

static void take_ack(struct ftd_primary *primary, uint64_t epoch)
{
	struct ftd_vm *vm = primary->vm;
	bool first = atomic_load_explicit(&primary->acked, memory_order_relaxed) == 0;

	fault_point(FAULT_ACK_RECEIVED);
	histogram_add(vm->counters->ack_hist, now_ns() - primary->sealed_ns[epoch % EPOCH_MARKS]);
	count_set(&vm->counters->epochs_acked, epoch);
	output_acknowledged(&vm->output, epoch);
	atomic_store_explicit(&primary->acked, epoch, memory_order_release);
	primary_room_made(primary);
	if (first)
		events_post(&vm->events, FTD_EVENT_PROTECTED, 0, epoch, 0);
}

static void take_frame(struct ftd_primary *primary, const struct frame_header *header)
{
	struct frame_position position = {
		.epoch_last = atomic_load_explicit(&primary->acked, memory_order_relaxed),
		/* Acquire: with the number come the mark and the time of that epoch. */
		.epoch_sent = atomic_load_explicit(&primary->sealed, memory_order_acquire),
	};
	enum refusal refusal = frame_check_header(header, &primary->rules, &position);

	if (refusal) {
		primary_refused(primary, refusal);
	} else if (header->type == FRAME_ACK) {
		take_ack(primary, header->epoch);
	} else if (header->type == FRAME_DISK_FAILED) {
		primary_lost(primary, FTD_LOST_DISK_THERE, header->flags);
	} else {
		events_post(&primary->vm->events,
			    header->type == FRAME_LEAVE_ACK ? FTD_EVENT_LEAVE_ACKED : FTD_EVENT_HANDED_OVER, 0,
			    header->epoch, 0);
		/* The peer closes next; that is no loss. */
		pthread_mutex_lock(&primary->fate);
		atomic_store(&primary->ending, true);
		pthread_mutex_unlock(&primary->fate);
	}
}

void primary_read_acks(struct ftd_primary *primary)
{
	ssize_t n = recv(primary->link.data_fd, primary->ack_buffer + primary->ack_fill,
			 sizeof(primary->ack_buffer) - primary->ack_fill, MSG_DONTWAIT);
	uint32_t at = 0;

	if (n <= 0) {
		if (n < 0 && (errno == EAGAIN || errno == EINTR))
			return;
		primary_lost(primary, n == 0 ? FTD_LOST_CLOSED : FTD_LOST_RESET, n < 0 ? errno : 0);
		return;
	}
	heartbeat_heard(&primary->heartbeat);
	primary->ack_fill += (uint32_t)n;
	/* Nothing counts after a refused frame, nor after LEAVE_ACK or HANDOVER_DONE. */
	while (primary->ack_fill - at >= sizeof(struct frame_header) && !atomic_load(&primary->lost) &&
	       !atomic_load(&primary->ending)) {
		struct frame_header header;

		memcpy(&header, primary->ack_buffer + at, sizeof(header));
		take_frame(primary, &header);
		at += (uint32_t)sizeof(header);
	}
	primary->ack_fill -= at;
	memmove(primary->ack_buffer, primary->ack_buffer + at, primary->ack_fill);
}

void primary_check_drained(struct ftd_primary *primary)
{
	uint64_t drain = atomic_load(&primary->drain_epoch);

	if (drain && !primary->drained && atomic_load(&primary->acked) >= drain && output_drained(&primary->vm->output)) {
		primary->drained = true;
		fault_point(FAULT_SWITCHOVER_DRAINED);
		events_post(&primary->vm->events, FTD_EVENT_DRAINED, 0, drain, 0);
	}
}

/* ---- set-up ---- */

static void free_primary(struct ftd_primary *primary)
{
	disk_sync_close(primary);
	disk_release_log(primary->vm);
	primary_release(primary);
	pthread_mutex_destroy(&primary->sync_lock);
	pthread_mutex_destroy(&primary->fate);
	close(primary->link.data_fd);
	close(primary->link.heartbeat_fd);
	free(primary);
}

static int check_link(const struct ftd_vm *vm, const ftd_link_config *link, ftd_error *error)
{
	if (link->epoch_pages_max < 64 || link->epoch_pages_max > 1u << 18)
		return ftd_fail(error, EINVAL, "64 to 262144 pages an arena are possible, not %u", link->epoch_pages_max);
	if (link->parts_max < 1 || link->parts_max > 64)
		return ftd_fail(error, EINVAL, "1 to 64 parts are possible, not %u", link->parts_max);
	if (vm->disk && (link->epoch_disk_bytes < DISK_LOG_BYTES_MIN || link->epoch_disk_bytes > DISK_LOG_BYTES_MAX))
		return ftd_fail(error, EINVAL, "%u to %u bytes of an epoch's log of the disk are possible, not %u",
				DISK_LOG_BYTES_MIN, DISK_LOG_BYTES_MAX, link->epoch_disk_bytes);
	if (link->heartbeat_interval_ms < 1 || link->heartbeat_timeout_ms < 3 * link->heartbeat_interval_ms)
		return ftd_fail(error, EINVAL, "the heartbeat timeout must be at least three intervals");
	if (link->watchdog_ms < link->heartbeat_interval_ms || link->watchdog_ms >= link->heartbeat_timeout_ms)
		return ftd_fail(error, EINVAL, "the watchdog's time must lie between heartbeat interval and timeout");
	return 0;
}

static int check_cycle(const ftd_cycle_config *cycle, ftd_error *error)
{
	if (cycle->epochs_in_flight < 1 || cycle->epochs_in_flight > ARENAS_MAX)
		return ftd_fail(error, EINVAL, "1 to %d epochs in flight are possible, not %u", ARENAS_MAX,
				cycle->epochs_in_flight);
	return 0;
}

/* Everything that the memfd holds; what it does not hold is zero on both sides. */
static void mark_all_data(struct ftd_primary *primary)
{
	struct ftd_vm *vm = primary->vm;
	off_t end = (off_t)vm->memory_bytes, at = 0;

	while (at < end) {
		off_t data = lseek(vm->memory_fd, at, SEEK_DATA);
		off_t hole = data < 0 ? -1 : lseek(vm->memory_fd, data, SEEK_HOLE);

		if (data < 0 && errno == ENXIO)
			break;
		if (data < 0 || hole < 0) {	/* cannot be told: all of it */
			data = at;
			hole = end;
		}
		for (uint64_t page = (uint64_t)data >> FTD_PAGE_SHIFT; page < (uint64_t)hole >> FTD_PAGE_SHIFT; page++)
			sync_mark(&primary->sync, page / 64, 1ull << (page % 64));
		at = hole;
	}
	count_set(&vm->counters->sync_total, atomic_load(&primary->sync.pending));
}

/* With all vCPUs out of the guest. */
static int command_begin(struct ftd_vm *vm, void *argument)
{
	struct ftd_primary *primary = argument;
	int error = vm_begin_tracking(vm, &primary->limits);

	if (error)
		return error;
	pthread_mutex_lock(&vm->devices);
	memset(vm->marked_bitmap, 0, (vm->pages + 63) / 64 * 8);
	vm->marked_count = 0;
	vm->marking = true;
	disk_sync_begin(primary);
	pthread_mutex_unlock(&vm->devices);
	/* After tracking began: a page that appears from here on is reported as written. */
	mark_all_data(primary);
	vm->primary = primary;
	vm->mode = MODE_SYNC;
	atomic_store(&vm->next_tick_ns, now_ns() + SYNC_PERIOD_NS);
	return 0;
}

static void reset_counters(ftd_counters *counters)
{
	counters->sync_pages = counters->sync_bytes = counters->sync_round = counters->sync_throttle_ns = 0;
	counters->epochs_acked = 0;
	counters->disk_sync_total = counters->disk_sync_bytes = counters->disk_sync_pending = 0;
}

static int begin(struct ftd_primary *primary, ftd_error *error)
{
	struct ftd_vm *vm = primary->vm;
	struct output *output = &vm->output;
	int result;

	reset_counters(vm->counters);
	output_watch(output, primary->link.watchdog_ms * FTD_MS);
	result = vm_run_stopped(vm, command_begin, primary);
	if (result)
		return ftd_fail(error, -result, "starting the tracker %s: %s", vm->tracker->name, strerror(-result));
	io_set_link(vm, primary);
	placement_init(&primary->placement);
	atomic_store(&primary->placement.tids[0], io_thread_id(vm));
	if (heartbeat_start(&primary->heartbeat, error) < 0)
		return -1;
	atomic_store(&primary->placement.tids[1], atomic_load(&primary->heartbeat.tid));
	result = thread_start(&primary->sender_thread, "sender", sender_main, primary, &primary->placement.tids[2]);
	if (result)
		return ftd_fail(error, result, "starting the sender: %s", strerror(result));
	primary->sender_started = true;
	return 0;
}

ftd_primary *ftd_primary_start(ftd_vm *vm, const ftd_link_config *link, const ftd_cycle_config *cycle,
			       ftd_error *error)
{
	struct ftd_primary *primary;

	error->code = 0;
	primary = check_link(vm, link, error) < 0 || check_cycle(cycle, error) < 0 ? NULL : calloc(1, sizeof(*primary));
	if (!primary) {
		if (!error->code)
			ftd_fail(error, ENOMEM, "no memory for a pair");
		close(link->data_fd);
		close(link->heartbeat_fd);
		return NULL;
	}
	primary->vm = vm;
	primary->link = *link;
	primary->cycle = *cycle;
	primary->limits = primary_limits(primary);
	pace_init(&primary->pace);
	pthread_mutex_init(&primary->sync_lock, NULL);
	pthread_mutex_init(&primary->fate, NULL);
	memcpy(primary->rules.vm_id, link->vm_id, sizeof(primary->rules.vm_id));
	primary->rules.generation = link->generation;
	primary->rules.pair = link->pair;
	primary->rules.memory_bytes = vm->memory_bytes;
	primary->sync_limit = vm->pages;
	primary->rules.allowed = FRAME_BIT(FRAME_ACK) | FRAME_BIT(FRAME_LEAVE_ACK) | FRAME_BIT(FRAME_HANDOVER_DONE) |
				 FRAME_BIT(FRAME_DISK_FAILED);
	primary->heartbeat = (struct heartbeat){
		.fd = link->heartbeat_fd, .rules = primary->rules, .output = &vm->output, .counters = vm->counters,
		.interval_ns = link->heartbeat_interval_ms * FTD_MS, .timeout_ns = link->heartbeat_timeout_ms * FTD_MS,
		.lost = heartbeat_lost, .tick = heartbeat_tick, .context = primary,
	};
	if (primary_allocate(primary, error) < 0) {
		free_primary(primary);
		return NULL;
	}
	if (begin(primary, error) < 0) {
		ftd_primary_end(primary, 1, 1);
		return NULL;
	}
	return primary;
}

/* ---- the ends ---- */

/* With all vCPUs out of the guest. */
static int stop_tracking(struct ftd_vm *vm)
{
	pthread_mutex_lock(&vm->devices);
	vm->marking = false;
	disk_detach(vm);
	pthread_mutex_unlock(&vm->devices);
	atomic_store(&vm->next_tick_ns, 0);
	return vm_end_tracking(vm);
}

static int command_mute(struct ftd_vm *vm, void *argument)
{
	(void)argument;
	vm->mode = MODE_MUTE;
	return stop_tracking(vm);
}

int ftd_primary_leave(ftd_primary *primary, ftd_error *error)
{
	if (atomic_load(&primary->lost))
		return ftd_fail(error, EPIPE, "the standby is lost");
	/*
	 * No epoch, and no first one, after LEAVE: what a protected guest sends
	 * from here on waits for the answer.
	 */
	vm_run_stopped(primary->vm, command_mute, NULL);
	atomic_fetch_or(&primary->controls, FRAME_BIT(FRAME_LEAVE));
	primary_wake_sender(primary);
	return 0;
}

static int command_drain(struct ftd_vm *vm, void *argument)
{
	struct ftd_primary *primary = argument;

	if (!primary->first_sealed || atomic_load(&primary->lost))
		return -EINVAL;
	atomic_store(&primary->drain_epoch, atomic_load(&primary->sealed) + 1);
	atomic_store(&vm->next_tick_ns, now_ns());
	return 0;
}

int ftd_primary_drain(ftd_primary *primary, ftd_error *error)
{
	int result = vm_run_stopped(primary->vm, command_drain, primary);

	return result ? ftd_fail(error, -result, "the VM is not protected") : 0;
}

int ftd_primary_handover(ftd_primary *primary, ftd_error *error)
{
	if (!atomic_load(&primary->drain_epoch))
		return ftd_fail(error, EINVAL, "the guest was not drained");
	/* Nothing of this copy leaves any more, whatever comes. */
	atomic_store(&primary->vm->output.shut, true);
	atomic_fetch_or(&primary->controls, FRAME_BIT(FRAME_HANDOVER));
	primary_wake_sender(primary);
	return 0;
}

uint64_t ftd_primary_acked(ftd_primary *primary)
{
	return atomic_load(&primary->acked);
}

static int command_end(struct ftd_vm *vm, void *argument)
{
	(void)argument;
	vm->mode = MODE_PLAIN;
	vm->park_wanted = false;
	vm->primary = NULL;
	return stop_tracking(vm);
}

void ftd_primary_end(ftd_primary *primary, int release_output, int resume_guest)
{
	struct ftd_vm *vm = primary->vm;

	pthread_mutex_lock(&primary->fate);
	atomic_store(&primary->ending, true);
	if (!release_output)
		atomic_store(&vm->output.shut, true);
	pthread_mutex_unlock(&primary->fate);
	heartbeat_stop(&primary->heartbeat);
	shutdown(primary->link.data_fd, SHUT_RDWR);
	if (primary->sender_started) {
		atomic_fetch_add(&primary->work, 1);
		futex_wake(&primary->work, 1);
		pthread_join(primary->sender_thread, NULL);
	}
	atomic_store(&primary->placement.tids[1], 0);	/* ended threads: their ids may be others' by now */
	atomic_store(&primary->placement.tids[2], 0);
	placement_end(&primary->placement);
	pace_end(&primary->pace);
	io_set_link(vm, NULL);
	atomic_store(&primary->lost, true);	/* a leader that waits for room waits no more */
	primary_room_made(primary);
	vm_run_stopped(vm, command_end, NULL);
	if (release_output) {
		output_ungate(&vm->output);
		io_wake(vm);
	}
	if (resume_guest && vm->running)
		vm_unpark(vm);
	free_primary(primary);
}
