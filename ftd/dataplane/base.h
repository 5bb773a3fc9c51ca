/* SPDX-License-Identifier: Apache-2.0 */
/* Clock, futex, errors and counters: what every file of the data plane needs. */
#ifndef FTD_BASE_H
#define FTD_BASE_H

#include <errno.h>
#include <linux/futex.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "api.h"

#define FTD_PAGE_SHIFT 12
#define FTD_PAGE_SIZE ((size_t)1 << FTD_PAGE_SHIFT)
#define FTD_MS 1000000ull
#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))

/*
 * BOOTTIME and not MONOTONIC: a host that was suspended must see the gap. Both
 * are read without a system call.
 */
static inline uint64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_BOOTTIME, &t);
	return (uint64_t)t.tv_sec * 1000000000ull + (uint64_t)t.tv_nsec;
}

/* Waits while *word == expected; 0 ns waits without limit. Spurious returns are allowed. */
static inline void futex_wait(_Atomic uint32_t *word, uint32_t expected, uint64_t timeout_ns)
{
	struct timespec t = { .tv_sec = (time_t)(timeout_ns / 1000000000ull),
			      .tv_nsec = (long)(timeout_ns % 1000000000ull) };

	syscall(SYS_futex, word, FUTEX_WAIT_PRIVATE, expected, timeout_ns ? &t : NULL, NULL, 0);
}

static inline void futex_wake(_Atomic uint32_t *word, int count)
{
	syscall(SYS_futex, word, FUTEX_WAKE_PRIVATE, count, NULL, NULL, 0);
}

/* Fills `error` and returns -1, so that a failing call is one `return`. */
int ftd_fail(ftd_error *error, int code, const char *format, ...) __attribute__((format(printf, 3, 4)));

/* Counters have one writer or tolerate lost precision nowhere: always a locked add. */
static inline void count(uint64_t *counter, uint64_t n)
{
	__atomic_fetch_add(counter, n, __ATOMIC_RELAXED);
}

static inline void count_set(uint64_t *counter, uint64_t value)
{
	__atomic_store_n(counter, value, __ATOMIC_RELAXED);
}

static inline uint32_t histogram_index(uint64_t value)
{
	unsigned int shift;

	if (value < 64)
		return (uint32_t)value;
	shift = 58u - (unsigned int)__builtin_clzll(value);
	return 32u * shift + (uint32_t)(value >> shift);
}

static inline void histogram_add(uint64_t *histogram, uint64_t value)
{
	count(&histogram[histogram_index(value)], 1);
}

static inline uint64_t min_u64(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

static inline uint64_t max_u64(uint64_t a, uint64_t b)
{
	return a > b ? a : b;
}

/* Sends all of it. 1: done, -1: errno. EINTR is retried; `iov` is used up. */
int send_all(int fd, const void *data, size_t length);
struct iovec;
int sendv_all(int fd, struct iovec *iov, int count);
/* Moves past the first `done` bytes. */
void iov_advance(struct iovec **iov, int *iov_count, size_t done);

/* Zeroed, prefaulted, page-aligned memory that no later call has to allocate. NULL: errno is set. */
void *reserve_pages(size_t bytes);
void release_pages(void *memory, size_t bytes);

#endif
