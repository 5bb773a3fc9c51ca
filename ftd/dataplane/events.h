/* SPDX-License-Identifier: Apache-2.0 */
/* Rare news for Python: a bounded queue behind an eventfd. Any thread may post; posting never blocks for long. */
#ifndef FTD_EVENTS_H
#define FTD_EVENTS_H

#include <pthread.h>

#include "base.h"

#define EVENTS_MAX 64

struct event_queue {
	pthread_mutex_t lock;
	int fd;
	uint32_t first, count;
	ftd_event events[EVENTS_MAX];
};

int events_open(struct event_queue *queue);	/* 0 or -1 with errno */
void events_close(struct event_queue *queue);
void events_post(struct event_queue *queue, uint32_t kind, uint32_t reason, uint64_t epoch, int64_t detail);
int events_take(struct event_queue *queue, ftd_event *event);

#endif
