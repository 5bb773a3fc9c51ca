#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <limits.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "floor.h"

void die(const char *what)
{
    fprintf(stderr, "floor: %s: %s\n", what, strerror(errno));
    exit(1);
}

uint64_t now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

int checked_ioctl(int fd, unsigned long request, void *arg, const char *what)
{
    int result = ioctl(fd, request, arg);
    if (result < 0)
        die(what);
    return result;
}

void *map_shared(size_t bytes, int fd, size_t offset, int flags, const char *what)
{
    void *address = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | flags, fd, (off_t)offset);
    if (address == MAP_FAILED)
        die(what);
    return address;
}

/* Memory that is there: no page fault later, when it is measured. */
void *allocate(size_t bytes, const char *what)
{
    void *address = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
    if (address == MAP_FAILED)
        die(what);
    return address;
}

static void futex(_Atomic uint32_t *word, int operation, uint32_t value)
{
    syscall(SYS_futex, word, operation | FUTEX_PRIVATE_FLAG, value, NULL, NULL, 0);
}

void turnstile_wait_past(struct turnstile *turnstile, uint32_t seen)
{
    if (atomic_load(&turnstile->count) != seen)
        return;
    atomic_fetch_add(&turnstile->waiters, 1);
    while (atomic_load(&turnstile->count) == seen)
        futex(&turnstile->count, FUTEX_WAIT, seen);
    atomic_fetch_sub(&turnstile->waiters, 1);
}

void turnstile_advance(struct turnstile *turnstile)
{
    atomic_fetch_add(&turnstile->count, 1);
    if (atomic_load(&turnstile->waiters) != 0)
        futex(&turnstile->count, FUTEX_WAKE, INT_MAX);
}

void pin_to(unsigned processor)
{
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET(processor, &set);
    if (sched_setaffinity(0, sizeof(set), &set) != 0)
        die("sched_setaffinity");
}

void forbid_halting(void)
{
    int32_t latency_us = 0;
    int fd = open("/dev/cpu_dma_latency", O_WRONLY | O_CLOEXEC);
    if (fd < 0 || write(fd, &latency_us, sizeof(latency_us)) != sizeof(latency_us))
        die("/dev/cpu_dma_latency");
}

void use_fifo(int priority)
{
    struct sched_param param = {.sched_priority = priority};
    if (sched_setscheduler(0, SCHED_FIFO, &param) != 0)
        die("sched_setscheduler(SCHED_FIFO)");
}
