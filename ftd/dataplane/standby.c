/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The standby side of a pair. One thread receives, verifies, acknowledges and
 * commits, in that order:
 *
 *   stage    all frames of an epoch into staging arenas; the RAM image is not touched
 *   verify   header, body checksum, every entry
 *   ack      now the primary may let the epoch's output go
 *   commit   apply the disk's log, then the staged parts to the image, in order; keep the state blob
 *
 * The standby activates only after this thread has ended, so an epoch that was
 * acknowledged is always committed before anybody looks at the image.
 */
#define _GNU_SOURCE
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include "crc32c.h"
#include "disk.h"
#include "fault.h"
#include "frame.h"
#include "heartbeat.h"
#include "image.h"
#include "prefault.h"
#include "standby_disk.h"
#include "threads.h"
#include "vm.h"

struct staging {
	uint64_t *list;
	char *pages;
	struct frame_header header;
};

struct ftd_standby {
	struct ftd_vm *vm;
	struct frame_rules rules;
	ftd_link_config link;
	struct staging *staged;		/* parts_max arenas */
	uint32_t parts;			/* staged parts of the epoch in progress */
	char *state_staged, *state;	/* swapped at commit */
	uint32_t state_len;
	struct image image;
	_Atomic uint64_t epoch;		/* newest committed */
	_Atomic bool lost;
	_Atomic bool stopping;		/* no acknowledgement any more; only drain */
	bool ending;			/* LEAVE or HANDOVER came: nothing follows */
	struct standby_disk disk;
	bool disk_told;			/* that the disk failed */
	bool primary_ended;		/* the receiver's, until it has ended: the peer closed, its gate is shut */
	struct heartbeat heartbeat;
	struct prefault prefault;
	pthread_t thread;
	bool started;
};

static void standby_lost(struct ftd_standby *standby, uint32_t reason, int64_t detail)
{
	if (!atomic_exchange(&standby->lost, true) && !atomic_load(&standby->stopping))
		events_post(&standby->vm->events, FTD_EVENT_PEER_LOST, reason, atomic_load(&standby->epoch), detail);
}

static void heartbeat_lost(void *context, uint32_t reason, int64_t detail)
{
	standby_lost(context, reason, detail);
}

static bool refuse(struct ftd_standby *standby, enum refusal refusal)
{
	count(&standby->vm->counters->refused[refusal], 1);
	standby_lost(standby, FTD_LOST_REFUSED, (int64_t)refusal);
	return false;
}

static void primary_ended(struct ftd_standby *standby, int error)
{
	/*
	 * Our own SHUT_RD looks the same, and comes after `stopping` was stored:
	 * whoever reads false here was ended by the peer.
	 */
	standby->primary_ended |= !atomic_load(&standby->stopping);
	standby_lost(standby, error ? FTD_LOST_RESET : FTD_LOST_CLOSED, error);
}

/*
 * Receives all that `iov` asks for. While stopping it takes only what the
 * socket already holds: the epoch that is whole there still counts.
 */
static bool receivev(struct ftd_standby *standby, struct iovec *iov, int parts)
{
	while (parts > 0) {
		struct msghdr message = { .msg_iov = iov, .msg_iovlen = (size_t)parts };
		int flags = atomic_load(&standby->stopping) ? MSG_DONTWAIT : MSG_WAITALL;
		ssize_t n;

		if (iov->iov_len == 0) {	/* also: a receive of nothing would look like the end */
			iov++;
			parts--;
			continue;
		}
		n = recvmsg(standby->link.data_fd, &message, flags);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0) {
			/*
			 * A connection that was closed or reset means that the
			 * primary is gone, or shut its gate before it closed. Any
			 * other error leaves the verdict to the heartbeat.
			 */
			if (n == 0 || errno == ECONNRESET)
				primary_ended(standby, n == 0 ? 0 : errno);
			return false;
		}
		iov_advance(&iov, &parts, (size_t)n);
	}
	return true;
}

static bool receive(struct ftd_standby *standby, void *to, size_t length)
{
	struct iovec iov = { to, length };

	return receivev(standby, &iov, 1);
}

/* ---- first synchronisation: straight into the image, which is not a copy of anything yet ---- */

static bool receive_sync(struct ftd_standby *standby, const struct frame_header *header)
{
	uint64_t *list = standby->staged[0].list;
	enum refusal refusal;
	uint32_t crc;

	if (!receive(standby, list, header->page_count * sizeof(*list)))
		return false;
	refusal = frame_check_list(header, list, &standby->rules);
	if (refusal)
		return refuse(standby, refusal);
	crc = ftd_crc32c(0, list, header->page_count * sizeof(*list));
	for (uint32_t i = 0; i < header->page_count;) {
		uint32_t end;
		size_t length;

		if (ENTRY_ENCODING(list[i]) == ENCODING_ZERO) {
			image_zero(&standby->image, list[i++]);
			continue;
		}
		end = image_touch_run(&standby->image, list, i, header->page_count);
		length = (end - i) * FTD_PAGE_SIZE;
		if (!receive(standby, image_page(&standby->image, list[i]), length))
			return false;
		crc = ftd_crc32c(crc, image_page(&standby->image, list[i]), length);
		i = end;
	}
	count(&standby->vm->counters->sync_pages, header->page_count);
	return crc == header->body_crc ? true : refuse(standby, REFUSED_BODY_CRC);
}

/* ---- epochs ---- */

static bool send_answer(struct ftd_standby *standby, enum frame_type type, uint64_t epoch, uint64_t stamp_ns)
{
	struct frame_header header;

	frame_prepare(&header, &standby->rules, type, epoch);
	header.stamp_ns = stamp_ns;
	frame_seal(&header);
	/* The peer's death shows on the receiving side; here it only ends the answer. */
	return send_all(standby->link.data_fd, &header, sizeof(header)) > 0;
}

/*
 * What was acknowledged cannot be applied: this copy is none any more, and must
 * not become active. Receiver's thread, or after it has ended.
 */
static bool disk_failed(struct ftd_standby *standby, int error)
{
	struct frame_header header;

	standby->state_len = 0;
	if (standby->disk_told)
		return false;
	standby->disk_told = true;
	atomic_store(&standby->lost, true);
	frame_prepare(&header, &standby->rules, FRAME_DISK_FAILED, 0);
	header.flags = (uint32_t)error & DISK_FAILED_ERRNO;
	frame_seal(&header);
	send_all(standby->link.data_fd, &header, sizeof(header));
	events_post(&standby->vm->events, FTD_EVENT_DISK_FAILED, 0, atomic_load(&standby->epoch), error);
	return false;
}

/* The body of a DISK frame. The image is no copy of anything yet. */
static bool receive_disk(struct ftd_standby *standby, const struct frame_header *header)
{
	struct standby_disk *disk = &standby->disk;
	enum refusal refusal;
	int error;

	if (!receive(standby, disk->staged, header->extra_len))
		return false;
	if (frame_body_len(header) && ftd_crc32c(0, disk->staged, header->extra_len) != header->body_crc)
		return refuse(standby, REFUSED_BODY_CRC);
	refusal = disk_log_check(disk->staged, header->extra_len, standby->rules.disk_bytes);
	if (refusal)
		return refuse(standby, refusal);
	count(&standby->vm->counters->disk_sync_bytes, header->extra_len);
	error = standby_disk_apply(disk, header->extra_len);
	return error ? disk_failed(standby, error) : true;
}

static bool commit(struct ftd_standby *standby, const struct frame_header *last)
{
	char *state = standby->state;
	int error = standby_disk_apply(&standby->disk, last->extra_len);

	if (error)
		return disk_failed(standby, error);
	/* What the guest flushed before it was protected came with the first synchronisation. */
	if (last->epoch == 1)
		standby_disk_want_sync(&standby->disk);
	for (uint32_t i = 0; i < standby->parts; i++)
		image_apply(&standby->image, standby->staged[i].list, standby->staged[i].header.page_count,
			    standby->staged[i].pages);
	standby->parts = 0;
	standby->state = standby->state_staged;
	standby->state_staged = state;
	standby->state_len = last->state_len;
	atomic_store(&standby->epoch, last->epoch);
	count_set(&standby->vm->counters->epochs_committed, last->epoch);
	fault_point(FAULT_COMMIT_AFTER);
	if (last->epoch == 1)
		events_post(&standby->vm->events, FTD_EVENT_FIRST_COMPLETE, 0, 1, 0);
	return true;
}

/* Receives the body into the next staging arena and judges it. */
static bool stage(struct ftd_standby *standby, const struct frame_header *header)
{
	struct staging *staging = &standby->staged[standby->parts];
	size_t list_len = header->page_count * sizeof(*staging->list);
	struct iovec iov[4] = {
		{ standby->state_staged, header->state_len }, { staging->list, list_len },
		{ staging->pages, header->pages_len }, { standby->disk.staged, header->extra_len },
	};
	enum refusal refusal;
	uint32_t crc = 0;

	staging->header = *header;
	if (!receivev(standby, iov, ARRAY_SIZE(iov)))
		return false;
	crc = ftd_crc32c(crc, standby->state_staged, header->state_len);
	crc = ftd_crc32c(crc, staging->list, list_len);
	crc = ftd_crc32c(crc, staging->pages, header->pages_len);
	crc = ftd_crc32c(crc, standby->disk.staged, header->extra_len);
	if (frame_body_len(header) && crc != header->body_crc)
		return refuse(standby, REFUSED_BODY_CRC);
	refusal = frame_check_list(header, staging->list, &standby->rules);
	if (!refusal)
		refusal = frame_check_deltas(header, staging->list, staging->pages);
	if (!refusal)
		refusal = disk_log_check(standby->disk.staged, header->extra_len, standby->rules.disk_bytes);
	if (refusal)
		return refuse(standby, refusal);
	standby->parts++;
	return true;
}

static bool receive_epoch(struct ftd_standby *standby, const struct frame_header *header)
{
	fault_point(FAULT_STAGE_HEADER);
	if (!stage(standby, header))
		return false;
	if (header->type == FRAME_PART)
		return true;
	fault_point(FAULT_STAGE_COMPLETE);
	count(&standby->vm->counters->epochs_received, 1);
	fault_point(FAULT_ACK_BEFORE_SEND);
	if (!atomic_load(&standby->stopping))
		send_answer(standby, FRAME_ACK, header->epoch, header->stamp_ns);
	fault_point(FAULT_ACK_AFTER_SEND);
	return commit(standby, header);
}

static bool receive_farewell(struct ftd_standby *standby, const struct frame_header *header)
{
	bool leave = header->type == FRAME_LEAVE;

	/* A planned activation begins with the disk as the guest flushed it. */
	if (!leave && standby_disk_stop(&standby->disk))
		return disk_failed(standby, standby_disk_error(&standby->disk));
	/* Under a stop that was already decided the request comes too late. */
	if (atomic_load(&standby->stopping) || atomic_exchange(&standby->lost, true))
		return false;
	fault_point(leave ? FAULT_LEAVE_RECEIVED : FAULT_SWITCHOVER_RECEIVED);
	events_post(&standby->vm->events, leave ? FTD_EVENT_LEAVE : FTD_EVENT_HANDOVER, 0, header->epoch, 0);
	return false;
}

static bool receive_frame(struct ftd_standby *standby)
{
	struct frame_header header;
	struct frame_position position;
	enum refusal refusal;

	if (!receive(standby, &header, sizeof(header)))
		return false;
	heartbeat_heard(&standby->heartbeat);
	if (standby_disk_error(&standby->disk))
		return disk_failed(standby, standby_disk_error(&standby->disk));
	position = (struct frame_position){ .epoch_last = atomic_load_explicit(&standby->epoch, memory_order_relaxed),
					    .parts_received = standby->parts };
	refusal = frame_check_header(&header, &standby->rules, &position);
	if (refusal)
		return refuse(standby, refusal);
	count(&standby->vm->counters->bytes, sizeof(header) + frame_body_len(&header));
	switch (header.type) {
	case FRAME_SYNC:
		return receive_sync(standby, &header);
	case FRAME_DISK:
		return receive_disk(standby, &header);
	case FRAME_EPOCH:
	case FRAME_PART:
		return receive_epoch(standby, &header);
	default:
		return receive_farewell(standby, &header);
	}
}

static void *standby_main(void *argument)
{
	struct ftd_standby *standby = argument;

	while (receive_frame(standby))
		;
	return NULL;
}

/* ---- life ---- */

static int allocate(struct ftd_standby *standby, ftd_error *error)
{
	standby->staged = calloc(standby->link.parts_max, sizeof(*standby->staged));
	standby->state_staged = reserve_pages(STATE_MAX_BYTES);
	standby->state = reserve_pages(STATE_MAX_BYTES);
	if (!standby->staged || !standby->state_staged || !standby->state ||
	    image_open(&standby->image, standby->vm->memory, standby->vm->pages) < 0)
		return ftd_fail(error, ENOMEM, "no memory for the standby's state");
	for (uint32_t i = 0; i < standby->link.parts_max; i++) {
		struct staging *staging = &standby->staged[i];

		staging->list = reserve_pages(standby->link.epoch_pages_max * sizeof(*staging->list));
		staging->pages = reserve_pages(standby->link.epoch_pages_max * FTD_PAGE_SIZE);
		if (!staging->list || !staging->pages)
			return ftd_fail(error, ENOMEM, "no memory for %u staging arenas of %u pages",
					standby->link.parts_max, standby->link.epoch_pages_max);
	}
	return 0;
}

ftd_standby *ftd_standby_start(ftd_vm *vm, const ftd_link_config *link, ftd_error *error)
{
	struct ftd_standby *standby = calloc(1, sizeof(*standby));
	int result;

	if (!standby) {
		ftd_fail(error, ENOMEM, "no memory for a pair");
		close(link->data_fd);
		close(link->heartbeat_fd);
		return NULL;
	}
	standby->vm = vm;
	standby->link = *link;
	memcpy(standby->rules.vm_id, link->vm_id, sizeof(standby->rules.vm_id));
	standby->rules.generation = link->generation;
	standby->rules.pair = link->pair;
	standby->rules.memory_bytes = vm->memory_bytes;
	standby->rules.state_max = STATE_MAX_BYTES;
	standby->rules.pages_max = link->epoch_pages_max;
	standby->rules.parts_max = link->parts_max;
	standby->rules.disk_bytes = vm->disk ? vm->disk->bytes : 0;
	standby->rules.extra_max = vm->disk ? link->epoch_disk_bytes : 0;
	standby->rules.allowed = FRAME_BIT(FRAME_SYNC) | FRAME_BIT(FRAME_DISK) | FRAME_BIT(FRAME_EPOCH) | FRAME_BIT(FRAME_PART) |
				 FRAME_BIT(FRAME_LEAVE) | FRAME_BIT(FRAME_HANDOVER);
	standby->heartbeat = (struct heartbeat){
		.fd = link->heartbeat_fd, .standby = true, .rules = standby->rules, .counters = vm->counters,
		.interval_ns = link->heartbeat_interval_ms * FTD_MS, .timeout_ns = link->heartbeat_timeout_ms * FTD_MS,
		.lost = heartbeat_lost, .context = standby,
	};
	if (allocate(standby, error) < 0 ||
	    standby_disk_start(&standby->disk, vm, standby->rules.extra_max, error) < 0 || heartbeat_start(&standby->heartbeat, error) < 0) {
		ftd_standby_free(standby);
		return NULL;
	}
	result = thread_start(&standby->thread, "receiver", standby_main, standby, NULL);
	if (result) {
		ftd_fail(error, result, "starting the receiver: %s", strerror(result));
		ftd_standby_free(standby);
		return NULL;
	}
	standby->started = true;
	prefault_start(&standby->prefault, vm);
	return standby;
}

void ftd_standby_stop(ftd_standby *standby)
{
	heartbeat_stop(&standby->heartbeat);
	prefault_stop(&standby->prefault);
	atomic_store(&standby->stopping, true);
	if (!standby->started)
		return;
	/*
	 * Wakes a receiver that waits for more, and keeps what has arrived
	 * readable: it takes that, finds the end, and is done.
	 */
	shutdown(standby->link.data_fd, SHUT_RD);
	pthread_join(standby->thread, NULL);
	standby->started = false;
	/* Before anybody asks for a generation: what the guest flushed is on stable storage here too. */
	if (standby_disk_stop(&standby->disk))
		disk_failed(standby, standby_disk_error(&standby->disk));
}

void ftd_standby_close(ftd_standby *standby)
{
	ftd_standby_stop(standby);
	shutdown(standby->link.data_fd, SHUT_RDWR);
	shutdown(standby->link.heartbeat_fd, SHUT_WR);	/* that of the peer is awaited, in outwait */
}

void ftd_standby_outwait(ftd_standby *standby)
{
	if (!standby->primary_ended)
		heartbeat_outwait(&standby->heartbeat);
}

uint64_t ftd_standby_epoch(ftd_standby *standby)
{
	return atomic_load(&standby->epoch);
}

const void *ftd_standby_state(ftd_standby *standby, uint64_t *length)
{
	*length = standby->state_len;
	return standby->state;
}

int ftd_standby_answer(ftd_standby *standby, uint32_t type)
{
	if (type == FRAME_HANDOVER_DONE)
		fault_point(FAULT_SWITCHOVER_BEFORE_DONE);
	return send_answer(standby, (enum frame_type)type, 0, 0) ? 0 : -1;
}

void ftd_standby_free(ftd_standby *standby)
{
	if (!standby)
		return;
	ftd_standby_stop(standby);
	for (uint32_t i = 0; standby->staged && i < standby->link.parts_max; i++) {
		release_pages(standby->staged[i].list, standby->link.epoch_pages_max * sizeof(uint64_t));
		release_pages(standby->staged[i].pages, standby->link.epoch_pages_max * FTD_PAGE_SIZE);
	}
	free(standby->staged);
	standby_disk_free(&standby->disk);
	release_pages(standby->state_staged, STATE_MAX_BYTES);
	release_pages(standby->state, STATE_MAX_BYTES);
	image_close(&standby->image);
	close(standby->link.data_fd);
	close(standby->link.heartbeat_fd);
	free(standby);
}
