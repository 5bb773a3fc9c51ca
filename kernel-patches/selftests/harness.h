/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Runs tests, each in a process of its own: what a test leaves behind (VMs,
 * threads, an armed threshold) dies with it, and a test that hangs is killed
 * by its alarm.
 */
#ifndef MT_HARNESS_H
#define MT_HARNESS_H

#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

typedef uint8_t u8;
typedef uint32_t u32;
typedef uint64_t u64;

struct mt_test {
	const char *name;
	void (*run)(void);
	unsigned int limit_s;	/* generous: the usual host is an emulated one */
};

#define MT_TEST(fn, limit)	{ #fn, fn, limit }
#define MT_TESTS_END		{ NULL, NULL, 0 }

/* Command line of every test program; see usage() for the letters. */
struct mt_options {
	bool small_pages;	/* the guest maps its memory by 4 KiB, not by 2 MiB */
	bool stock;		/* run although KVM has no memory tracking */
	unsigned int vcpus;
	unsigned int harvesters;
	unsigned int duration_s;
	unsigned int pages;
	unsigned int seed;
	const char *zap;	/* how stress takes mappings away */
};

extern struct mt_options mt_options;

#define MT_EXIT_SKIPPED	4	/* as the kernel's own selftests have it */

/*
 * Exit status: 1 when a test failed, 2 for a wrong command line, MT_EXIT_SKIPPED when all were
 * skipped, else 0.
 */
int mt_main(int argc, char **argv, const struct mt_test *tests);

__attribute__((noreturn, format(printf, 3, 4)))
void mt_fail(const char *file, int line, const char *format, ...);
__attribute__((noreturn, format(printf, 1, 2)))
void mt_skip(const char *format, ...);
/* A remark that is shown beside the result: a figure, a part that could not run. */
__attribute__((format(printf, 1, 2)))
void mt_note(const char *format, ...);

#define ARRAY_SIZE(array)	(sizeof(array) / sizeof((array)[0]))

#define FAIL(...) mt_fail(__FILE__, __LINE__, __VA_ARGS__)

#define CHECK(condition, ...) do {		\
	if (!(condition))			\
		FAIL(__VA_ARGS__);		\
} while (0)

/* For calls of mt_api.h, which return a negative errno. Returns what the call returned. */
#define CHECK_OK(call) ({						\
	long long _r = (call);						\
	CHECK(_r >= 0, "%s: %s", #call, strerror(-_r));			\
	_r;								\
})

#define CHECK_ERR(call, error) do {					\
	long long _r = (call);						\
	CHECK(_r == -(error), "%s: %s, expected %s", #call,		\
	      _r >= 0 ? "succeeded" : strerror(-_r), strerror(error));	\
} while (0)

#define CHECK_EQ(got, want, what) do {					\
	long long _g = (got), _w = (want);				\
	CHECK(_g == _w, "%s: %lld, expected %lld", what, _g, _w);	\
} while (0)

#endif
