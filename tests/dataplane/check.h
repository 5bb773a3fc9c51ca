/* SPDX-License-Identifier: Apache-2.0 */
/* What every test program needs: a check that says where it failed, and numbers that a seed reproduces. */
#ifndef FTD_TEST_CHECK_H
#define FTD_TEST_CHECK_H

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

/* A sanitizer ends the program with another code; so a test can tell what found the fault. */
#define CHECK_FAILED 3

/* Which of many cases is being tried, for the message. */
static uint64_t case_number __attribute__((unused));

#define CHECK(condition, ...) \
	do { \
		if (!(condition)) { \
			fprintf(stderr, "case %lu: %s:%d: not so: %s: ", case_number, __FILE__, __LINE__, #condition); \
			fprintf(stderr, __VA_ARGS__); \
			fputc('\n', stderr); \
			exit(CHECK_FAILED); \
		} \
	} while (0)

struct random {
	uint64_t state;
};

/* splitmix64 */
static inline uint64_t random_u64(struct random *random)
{
	uint64_t z = random->state += 0x9e3779b97f4a7c15ull;

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9ull;
	z = (z ^ z >> 27) * 0x94d049bb133111ebull;
	return z ^ z >> 31;
}

static inline uint32_t random_below(struct random *random, uint32_t limit)
{
	return (uint32_t)(random_u64(random) % limit);
}

static inline int random_one_in(struct random *random, uint32_t n)
{
	return random_below(random, n) == 0;
}

/* argv[index] as a number, or `fallback`. */
static inline uint64_t argument_or(int argc, char **argv, int index, uint64_t fallback)
{
	return argc > index ? strtoull(argv[index], NULL, 0) : fallback;
}

#endif
