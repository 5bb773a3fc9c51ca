/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The sender thread of a pair: the first synchronisation, then one sealed
 * arena after the other, then, if asked, LEAVE or HANDOVER.
 */
#include <sys/uio.h>

#include "crc32c.h"
#include "disk_sync.h"
#include "fault.h"
#include "memory_map.h"
#include "primary.h"

bool sender_send(struct ftd_primary *primary, struct iovec *iov, int parts)
{
	uint64_t bytes = 0;

	for (int i = 0; i < parts; i++)
		bytes += iov[i].iov_len;
	if (sendv_all(primary->link.data_fd, iov, parts) < 0) {
		primary_lost(primary, errno == EPIPE ? FTD_LOST_CLOSED : FTD_LOST_RESET, errno);
		return false;
	}
	count(&primary->vm->counters->bytes, bytes);
	return true;
}

/* ---- first synchronisation ---- */

struct batch {
	uint32_t count, raw;
	uint64_t pages[SYNC_BATCH_PAGES];
};

static bool page_is_zero(const char *page)
{
	const uint64_t *words = (const uint64_t *)(const void *)page;

	for (size_t i = 0; i < FTD_PAGE_SIZE / 8; i += 8)
		if (words[i] | words[i + 1] | words[i + 2] | words[i + 3] | words[i + 4] | words[i + 5] |
		    words[i + 6] | words[i + 7])
			return false;
	return true;
}

static uint32_t batch_pages_max(const struct ftd_primary *primary)
{
	return (uint32_t)min_u64(SYNC_BATCH_PAGES, primary->link.epoch_pages_max);
}

/* Takes up to a batch of pending pages from `*word` on; sync_lock is held. */
static void take_pending(struct ftd_primary *primary, uint64_t *word, struct batch *batch)
{
	uint64_t words = (primary->vm->pages + 63) / 64;

	batch->count = 0;
	for (; *word < words; (*word)++) {
		uint64_t bits = atomic_load_explicit(&primary->sync.words[*word], memory_order_relaxed);

		if (!bits)
			continue;
		if (batch->count + 64 > batch_pages_max(primary))
			return;
		/*
		 * Cleared before the page is read: a write that the copy misses was
		 * made after this, is tracked, and sets the bit again.
		 */
		bits = atomic_exchange(&primary->sync.words[*word], 0);
		atomic_fetch_sub(&primary->sync.pending, (uint64_t)__builtin_popcountll(bits));
		for (; bits; bits &= bits - 1)
			batch->pages[batch->count++] = *word * 64 + (unsigned int)__builtin_ctzll(bits);
	}
}

/* Writes the frame into primary->batch and returns its length. The copy is private: the guest writes meanwhile. */
static size_t build_sync_frame(struct ftd_primary *primary, struct batch *batch)
{
	struct ftd_vm *vm = primary->vm;
	struct frame_header *header = (struct frame_header *)(void *)primary->batch;
	uint64_t *list = (uint64_t *)(void *)(primary->batch + sizeof(*header));
	char *contents = (char *)(list + batch->count);
	uint32_t crc;

	batch->raw = 0;
	for (uint32_t i = 0; i < batch->count; i++) {
		bool zero = page_is_zero(vm->memory + (batch->pages[i] << FTD_PAGE_SHIFT));

		list[i] = gfn_of(batch->pages[i]) | (uint64_t)(zero ? ENCODING_ZERO : ENCODING_RAW) << ENTRY_GFN_BITS;
		batch->raw += !zero;
	}
	crc = ftd_crc32c(0, list, batch->count * sizeof(*list));
	for (uint32_t i = 0; i < batch->count; i++) {
		if (ENTRY_ENCODING(list[i]) != ENCODING_RAW)
			continue;
		crc = crc32c_copy(crc, contents, vm->memory + (batch->pages[i] << FTD_PAGE_SHIFT), FTD_PAGE_SIZE);
		contents += FTD_PAGE_SIZE;
	}
	frame_prepare(header, &primary->rules, FRAME_SYNC, 0);
	header->page_count = batch->count;
	header->pages_len = (uint32_t)(batch->raw * FTD_PAGE_SIZE);
	header->body_crc = crc;
	frame_seal(header);
	return (size_t)(contents - primary->batch);
}

bool sender_sync_is_over(struct ftd_primary *primary)
{
	return primary->first_sealed || atomic_load(&primary->lost) || atomic_load(&primary->controls) ||
	       atomic_load(&primary->ending);
}

/* false: the synchronisation is over: epoch 1 is sealed, the peer is lost, or this side leaves. */
static bool send_batch(struct ftd_primary *primary, uint64_t *word, struct batch *batch)
{
	ftd_counters *counters = primary->vm->counters;
	struct iovec iov = { .iov_base = primary->batch };
	bool over;

	pthread_mutex_lock(&primary->sync_lock);
	over = sender_sync_is_over(primary);
	if (!over) {
		take_pending(primary, word, batch);
		if (batch->count)
			iov.iov_len = build_sync_frame(primary, batch);
	}
	pthread_mutex_unlock(&primary->sync_lock);
	if (over)
		return false;
	if (!batch->count)
		return true;
	if (!sender_send(primary, &iov, 1))
		return false;
	atomic_fetch_add(&primary->sync_sent, batch->count);
	primary_room_made(primary);
	count(&counters->sync_pages, batch->count);
	count(&counters->sync_bytes, iov.iov_len);
	count_set(&counters->sync_pending, atomic_load(&primary->sync.pending));
	fault_point(FAULT_ENTER_IN_SYNC);
	return true;
}

static void wait_for_work(struct ftd_primary *primary, bool (*nothing)(struct ftd_primary *))
{
	uint32_t work = atomic_load(&primary->work);

	/* Announce idleness, then look again; whoever makes work looks at the announcement after it. */
	atomic_store(&primary->sender_idle, 1);
	if (nothing(primary))
		futex_wait(&primary->work, work, 100 * FTD_MS);
	atomic_store(&primary->sender_idle, 0);
}

static bool nothing_to_sync(struct ftd_primary *primary)
{
	return !atomic_load(&primary->sync.pending) && atomic_load(&primary->queued) == 0 &&
	       !atomic_load(&primary->controls) && !atomic_load(&primary->lost) && !atomic_load(&primary->ending);
}

static void synchronise(struct ftd_primary *primary)
{
	struct ftd_vm *vm = primary->vm;
	struct batch batch;

	fault_point(FAULT_ENTER_BEFORE_SYNC);
	for (;;) {
		uint64_t word = 0, words = (vm->pages + 63) / 64;

		if (!disk_sync_round(primary))
			return;
		while (word < words)
			if (!send_batch(primary, &word, &batch))
				return;
		count(&vm->counters->sync_round, 1);
		events_post(&vm->events, FTD_EVENT_SYNC_ROUND, 0, 0, (int64_t)atomic_load(&primary->sync.pending));
		/* The leader may seal now if little is left; else the next pass sends what was written meanwhile. */
		if (atomic_load(&primary->sync.pending) <= primary->link.epoch_pages_max) {
			if (!disk_sync_finish(primary))
				return;
			vm_request_stop(vm, STOP_TICK);
		}
		wait_for_work(primary, nothing_to_sync);
	}
}

/* ---- epochs ---- */

/*
 * A drill's corrupted stream. After the checksum, so that only that can tell;
 * in the arena, which nobody reads once it is sent: the guest has its own copy.
 */
static void flip_byte(const struct iovec *iov, int parts)
{
	while (parts-- > 1) {
		if (iov[parts].iov_len) {
			((char *)iov[parts].iov_base)[iov[parts].iov_len / 2] ^= 1;
			return;
		}
	}
}

static bool send_arena(struct ftd_primary *primary, struct arena *arena)
{
	struct frame_header *header = &arena->header;
	size_t list_len = arena->count * sizeof(*arena->list);
	struct iovec iov[5] = {
		{ header, sizeof(*header) }, { arena->state, arena->state_len }, { arena->list, list_len },
		{ arena->pages, arena->pages_len }, { arena->disk.bytes, arena->disk.used },
	};
	uint32_t crc = 0;

	frame_prepare(header, &primary->rules, arena->type, arena->epoch);
	header->state_len = arena->state_len;
	header->page_count = arena->count;
	header->pages_len = arena->pages_len;
	header->extra_len = arena->disk.used;
	header->stamp_ns = primary->sealed_ns[arena->epoch % EPOCH_MARKS];
	for (size_t i = 1; i < ARRAY_SIZE(iov); i++)
		crc = ftd_crc32c(crc, iov[i].iov_base, iov[i].iov_len);
	header->body_crc = crc;
	frame_seal(header);
	if (__builtin_expect(atomic_load_explicit(&fault_corrupt, memory_order_relaxed), 0) &&
	    atomic_exchange(&fault_corrupt, 0))
		flip_byte(iov, ARRAY_SIZE(iov));
	fault_point(FAULT_SEND_BEFORE);
	if (atomic_load_explicit(&fault_armed, memory_order_relaxed) == FAULT_SEND_HALF) {
		struct iovec half[2] = { iov[0], { arena->state, arena->state_len / 2 } };

		if (sendv_all(primary->link.data_fd, half, 2) > 0)
			fault_passed();
		iov[0].iov_len = 0;
		iov[1].iov_base = arena->state + arena->state_len / 2;
		iov[1].iov_len = arena->state_len - arena->state_len / 2;
	}
	if (!sender_send(primary, iov, ARRAY_SIZE(iov)))
		return false;
	fault_point(FAULT_SEND_AFTER);
	return true;
}

static bool send_control(struct ftd_primary *primary, enum frame_type type)
{
	struct frame_header header;
	struct iovec iov = { &header, sizeof(header) };

	frame_prepare(&header, &primary->rules, type, atomic_load(&primary->sealed));
	frame_seal(&header);
	fault_point(type == FRAME_LEAVE ? FAULT_LEAVE_BEFORE_SEND : FAULT_SWITCHOVER_BEFORE_SEND);
	if (!sender_send(primary, &iov, 1))
		return false;
	fault_point(type == FRAME_LEAVE ? FAULT_LEAVE_AFTER_SEND : FAULT_SWITCHOVER_AFTER_SEND);
	return true;
}

static bool nothing_to_send(struct ftd_primary *primary)
{
	return atomic_load(&primary->queued) == atomic_load(&primary->sent) && !atomic_load(&primary->controls) &&
	       !atomic_load(&primary->lost) && !atomic_load(&primary->ending);
}

static bool send_next(struct ftd_primary *primary)
{
	uint64_t sent = atomic_load_explicit(&primary->sent, memory_order_relaxed);
	uint32_t controls;

	if (atomic_load(&primary->queued) != sent) {
		if (!send_arena(primary, &primary->arenas[sent % primary->cycle.epochs_in_flight]))
			return false;
		/* Release: the arena has been read. */
		atomic_fetch_add_explicit(&primary->sent, 1, memory_order_release);
		primary_room_made(primary);
		return true;
	}
	controls = atomic_exchange(&primary->controls, 0);
	if (controls & FRAME_BIT(FRAME_LEAVE))
		return send_control(primary, FRAME_LEAVE);
	if (controls & FRAME_BIT(FRAME_HANDOVER))
		return send_control(primary, FRAME_HANDOVER);
	wait_for_work(primary, nothing_to_send);
	return true;
}

void *sender_main(void *argument)
{
	struct ftd_primary *primary = argument;

	synchronise(primary);
	while (!atomic_load(&primary->lost) && !atomic_load(&primary->ending))
		if (!send_next(primary))
			break;
	return NULL;
}
