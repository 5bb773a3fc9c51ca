/* SPDX-License-Identifier: Apache-2.0 */
#include "events.h"

#include <sys/eventfd.h>

int events_open(struct event_queue *queue)
{
	pthread_mutex_init(&queue->lock, NULL);
	queue->fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	return queue->fd < 0 ? -1 : 0;
}

void events_close(struct event_queue *queue)
{
	if (queue->fd >= 0)
		close(queue->fd);
	pthread_mutex_destroy(&queue->lock);
}

void events_post(struct event_queue *queue, uint32_t kind, uint32_t reason, uint64_t epoch, int64_t detail)
{
	uint64_t one = 1;

	pthread_mutex_lock(&queue->lock);
	/*
	 * Only progress reports come often enough to fill the queue, so only
	 * they may be dropped: the last places are kept for decisions, of which
	 * a pair makes fewer than that in its life.
	 */
	if (queue->count < EVENTS_MAX - (kind == FTD_EVENT_SYNC_ROUND ? 32 : 0)) {
		queue->events[(queue->first + queue->count) % EVENTS_MAX] =
			(ftd_event){ .kind = kind, .reason = reason, .epoch = epoch, .detail = detail };
		queue->count++;
	}
	pthread_mutex_unlock(&queue->lock);
	while (write(queue->fd, &one, sizeof(one)) < 0 && errno == EINTR)
		;
}

int events_take(struct event_queue *queue, ftd_event *event)
{
	uint64_t ignored;
	int taken = 0;

	pthread_mutex_lock(&queue->lock);
	if (queue->count > 0) {
		*event = queue->events[queue->first];
		queue->first = (queue->first + 1) % EVENTS_MAX;
		queue->count--;
		taken = 1;
	} else {
		/* Emptied: the next post makes the descriptor readable again. */
		while (read(queue->fd, &ignored, sizeof(ignored)) < 0 && errno == EINTR)
			;
	}
	pthread_mutex_unlock(&queue->lock);
	return taken;
}
