/*
 * clockwatch: reads the clocks on each processor in turn, and tells the kernel's log of each step back.
 *
 * A clock that goes on from a moment before the last reading is seen; one that fell back by less than went by since is
 * not. So the pause is the smallest step that is seen for sure: 2000 µs, or CLOCKWATCH_US of the environment.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#define PAUSE_US 2000
#define NS_PER_S 1000000000LL

struct clock {
	clockid_t id;
	const char *name;
	long long latest_ns;
	unsigned long steps;
};

static struct clock clocks[] = {
	{ .id = CLOCK_MONOTONIC, .name = "CLOCK_MONOTONIC" },
	{ .id = CLOCK_REALTIME, .name = "CLOCK_REALTIME" },
	{ .id = CLOCK_BOOTTIME, .name = "CLOCK_BOOTTIME" },
};

static void tell(int log_fd, struct clock *clock, long long back_ns, long processor)
{
	char line[160];
	int bytes;

	clock->steps++;
	/* Level 3, an error: a guest's console shows it. One write is one line; dprintf() would seek, which fails. */
	bytes = snprintf(line, sizeof(line), "<3>clockwatch: %s stepped back by %lld ns on processor %ld, %lu in all\n",
			 clock->name, back_ns, processor, clock->steps);
	if (write(log_fd, line, (size_t)bytes) < 0)
		perror("clockwatch: /dev/kmsg");
}

static void look(int log_fd, long processor)
{
	for (size_t i = 0; i < sizeof(clocks) / sizeof(clocks[0]); i++) {
		struct timespec now;
		long long now_ns;

		clock_gettime(clocks[i].id, &now);
		now_ns = now.tv_sec * NS_PER_S + now.tv_nsec;
		if (now_ns < clocks[i].latest_ns)
			tell(log_fd, &clocks[i], clocks[i].latest_ns - now_ns, processor);
		clocks[i].latest_ns = now_ns;
	}
}

int main(void)
{
	const char *asked = getenv("CLOCKWATCH_US");
	useconds_t pause_us = asked ? (useconds_t)strtoul(asked, NULL, 10) : PAUSE_US;
	long processors = sysconf(_SC_NPROCESSORS_ONLN);
	int log_fd = open("/dev/kmsg", O_WRONLY | O_CLOEXEC);

	if (log_fd < 0) {
		perror("clockwatch: /dev/kmsg");
		return 1;
	}
	for (long processor = 0;; processor = (processor + 1) % processors) {
		cpu_set_t one;

		CPU_ZERO(&one);
		CPU_SET((size_t)processor, &one);
		sched_setaffinity(0, sizeof(one), &one);
		look(log_fd, processor);
		usleep(pause_us);
	}
}
