/* SPDX-License-Identifier: Apache-2.0 */
/* A full queue drops progress reports and never a decision; order and the descriptor's readiness hold. */
#include <poll.h>

#include "check.h"
#include "events.h"

static int readable(const struct event_queue *queue)
{
	struct pollfd fd = { .fd = queue->fd, .events = POLLIN };

	return poll(&fd, 1, 0) == 1;
}

static ftd_event take(struct event_queue *queue)
{
	ftd_event event = { 0 };

	CHECK(readable(queue), "an event waits that the descriptor does not tell of");
	CHECK(events_take(queue, &event) == 1, "an event is missing");
	return event;
}

static void check_overflow(struct event_queue *queue, int before)
{
	ftd_event event;

	for (int i = 0; i < 1000; i++)
		events_post(queue, FTD_EVENT_SYNC_ROUND, 0, 0, i);
	for (uint32_t i = 0; i < 32; i++)
		events_post(queue, FTD_EVENT_PEER_LOST, i, 7, -1);
	for (int i = 0; i < before; i++)
		CHECK(take(queue).kind == FTD_EVENT_PROTECTED, "what was there first comes first");
	for (int i = before; i < 32; i++)
		CHECK(take(queue).detail == i - before, "the oldest progress reports are kept, in order");
	for (uint32_t i = 0; i < 32; i++) {
		event = take(queue);
		CHECK(event.kind == FTD_EVENT_PEER_LOST && event.reason == i && event.epoch == 7 && event.detail == -1,
		      "decision %u of 32", i);
	}
	CHECK(events_take(queue, &event) == 0, "the queue is empty");
	CHECK(!readable(queue), "an empty queue is not readable");
}

int main(void)
{
	struct event_queue queue = { 0 };

	CHECK(events_open(&queue) == 0, "no eventfd");
	/* Again and again, at another place of the ring each time. */
	for (int before = 0; before < 32; before++) {
		for (int i = 0; i < before; i++)
			events_post(&queue, FTD_EVENT_PROTECTED, 0, 0, 0);
		check_overflow(&queue, before);
	}
	/* Past the end nothing is written over. */
	for (uint32_t i = 0; i < 2 * EVENTS_MAX; i++)
		events_post(&queue, FTD_EVENT_PEER_LOST, i, 0, 0);
	for (uint32_t i = 0; i < EVENTS_MAX; i++)
		CHECK(take(&queue).reason == i, "event %u", i);
	events_close(&queue);
	return 0;
}
