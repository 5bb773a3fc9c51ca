// SPDX-License-Identifier: GPL-2.0-only
#define _GNU_SOURCE
#include <errno.h>
#include <linux/futex.h>
#include <pthread.h>
#include <signal.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "helper.h"
#include "sys.h"

enum state { ASLEEP, CALLED, AWAKE, WORKING, DONE };

static struct {
	uint32_t state;
	void (*task)(void *);
	void *argument;
} helper;

static uint32_t state(void)
{
	return __atomic_load_n(&helper.state, __ATOMIC_ACQUIRE);
}

static void become(enum state next)
{
	__atomic_store_n(&helper.state, next, __ATOMIC_RELEASE);
}

static void spin_until(enum state wanted)
{
	while (state() != wanted)
		__builtin_ia32_pause();
}

static void sleep_until_called(void)
{
	for (uint32_t seen; (seen = state()) != CALLED;)
		syscall(SYS_futex, &helper.state, FUTEX_WAIT_PRIVATE, seen, NULL);
}

static void *help(void *unused)
{
	(void)unused;
	pin_to(1);
	for (;;) {
		sleep_until_called();
		become(AWAKE);
		spin_until(WORKING);
		helper.task(helper.argument);
		become(DONE);
	}
	return NULL;
}

void helper_start(void)
{
	pthread_t thread;
	sigset_t all, before;

	/* Timer signals are for the main thread. */
	sigfillset(&all);
	pthread_sigmask(SIG_BLOCK, &all, &before);
	errno = pthread_create(&thread, NULL, help, NULL);
	if (errno)
		die("starting the second thread");
	pthread_sigmask(SIG_SETMASK, &before, NULL);
}

void helper_awaken(void)
{
	become(CALLED);
	syscall(SYS_futex, &helper.state, FUTEX_WAKE_PRIVATE, 1);
	spin_until(AWAKE);
}

void helper_begin(void (*task)(void *), void *argument)
{
	if (state() != AWAKE)
		helper_awaken();
	helper.task = task;
	helper.argument = argument;
	become(WORKING);
}

void helper_finish(void)
{
	spin_until(DONE);
	become(ASLEEP);
}
