/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Watches a guest's clocks from inside: one thread on each processor, and one
 * last value for all of them, so that a step back shows whoever reads next.
 * Prints a line each quarter of a second: "clocks: N readings M steps S", with
 * the greatest step back ever seen, in ns, behind it.
 */
#define _GNU_SOURCE
#include <pthread.h>
#include <sched.h>
#include <stdint.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>
#include <sys/syscall.h>

#define CLOCKS 3

static const clockid_t ids[CLOCKS] = { CLOCK_MONOTONIC, CLOCK_REALTIME, CLOCK_MONOTONIC_RAW };
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static int64_t last[CLOCKS], readings, steps, worst_ns;

static int64_t read_clock(clockid_t id, int by_call)
{
	struct timespec t;

	/* The kernel's own way of reading and that of the vDSO must agree as well. */
	if (by_call)
		syscall(SYS_clock_gettime, id, &t);
	else
		clock_gettime(id, &t);
	return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

static void look(int by_call)
{
	pthread_mutex_lock(&lock);
	for (int i = 0; i < CLOCKS; i++) {
		int64_t now = read_clock(ids[i], by_call);

		readings++;
		if (now < last[i]) {
			steps++;
			if (last[i] - now > worst_ns)
				worst_ns = last[i] - now;
		}
		last[i] = now;
	}
	pthread_mutex_unlock(&lock);
}

static void *watch(void *argument)
{
	long processor = (long)argument;
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET((int)processor, &set);
	sched_setaffinity(0, sizeof(set), &set);
	for (int turn = 0;; turn++) {
		for (int i = 0; i < 20; i++)
			look((turn + i) & 1);
		usleep(1000);
	}
	return NULL;
}

int main(void)
{
	long processors = sysconf(_SC_NPROCESSORS_ONLN);
	pthread_t thread;

	for (long i = 0; i < processors; i++)
		pthread_create(&thread, NULL, watch, (void *)i);
	for (int64_t line = 1;; line++) {
		usleep(250000);
		pthread_mutex_lock(&lock);
		printf("clocks: %lld readings %lld steps %lld worst %lld mono %lld real %lld\n", (long long)line,
		       (long long)readings, (long long)steps, (long long)worst_ns, (long long)last[0],
		       (long long)last[1]);
		fflush(stdout);
		pthread_mutex_unlock(&lock);
	}
}
