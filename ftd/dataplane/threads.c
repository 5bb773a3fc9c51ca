/* SPDX-License-Identifier: Apache-2.0 */
#define _GNU_SOURCE
#include "threads.h"

#include <semaphore.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/syscall.h>
#include <unistd.h>

struct start {
	void *(*main)(void *);
	void *argument;
	_Atomic pid_t *tid;
	sem_t up;
};

static void *begin(void *argument)
{
	struct start *start = argument;
	void *(*thread_main)(void *) = start->main;
	void *thread_argument = start->argument;

	if (start->tid)
		atomic_store(start->tid, (pid_t)syscall(SYS_gettid));
	sem_post(&start->up);	/* `start` is gone after this */
	return thread_main(thread_argument);
}

int thread_start(pthread_t *thread, const char *name, void *(*main)(void *), void *argument, _Atomic pid_t *tid)
{
	struct start start = { .main = main, .argument = argument, .tid = tid };
	sigset_t all, before;
	int error;

	sem_init(&start.up, 0, 0);
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	error = pthread_create(thread, NULL, begin, &start);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	if (!error) {
		while (sem_wait(&start.up) < 0)
			;
		pthread_setname_np(*thread, name);
	}
	sem_destroy(&start.up);
	return error;
}
