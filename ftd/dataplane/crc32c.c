/* SPDX-License-Identifier: Apache-2.0 */
#include "crc32c.h"

#include <nmmintrin.h>
#include <pthread.h>
#include <stdbool.h>
#include <string.h>

#define POLYNOMIAL 0x82f63b78u	/* reflected */
/*
 * The instruction has a latency of three cycles and a throughput of one: three
 * independent streams of LANE bytes keep it busy. A finished lane's CRC is
 * carried over the LANE or 2*LANE bytes that follow it by multiplication with
 * x^(8*LANE) in the CRC's field, done with four table look-ups.
 */
#define LANE 1360	/* three lanes: 4080 bytes, the most of a page in multiples of 8 */

static uint32_t byte_table[256];
static uint32_t shift_one[4][256], shift_two[4][256];
static bool have_sse42;
static pthread_once_t once = PTHREAD_ONCE_INIT;

static uint32_t crc_bytes(uint32_t crc, const unsigned char *p, size_t length)
{
	while (length--)
		crc = byte_table[(crc ^ *p++) & 0xff] ^ (crc >> 8);
	return crc;
}

static void make_shift_table(uint32_t table[4][256], size_t zeros)
{
	uint32_t basis[32];

	for (unsigned int bit = 0; bit < 32; bit++) {
		uint32_t crc = 1u << bit;

		for (size_t i = 0; i < zeros; i++)
			crc = byte_table[crc & 0xff] ^ (crc >> 8);
		basis[bit] = crc;
	}
	for (unsigned int byte = 0; byte < 4; byte++) {
		for (unsigned int value = 0; value < 256; value++) {
			uint32_t crc = 0;

			for (unsigned int bit = 0; bit < 8; bit++)
				if (value & (1u << bit))
					crc ^= basis[8 * byte + bit];
			table[byte][value] = crc;
		}
	}
}

static void prepare(void)
{
	for (unsigned int value = 0; value < 256; value++) {
		uint32_t crc = value;

		for (int bit = 0; bit < 8; bit++)
			crc = crc & 1 ? (crc >> 1) ^ POLYNOMIAL : crc >> 1;
		byte_table[value] = crc;
	}
	make_shift_table(shift_one, LANE);
	make_shift_table(shift_two, 2 * (size_t)LANE);
	have_sse42 = __builtin_cpu_supports("sse4.2");
}

static inline uint32_t shifted(uint32_t table[4][256], uint32_t crc)
{
	return table[0][crc & 0xff] ^ table[1][(crc >> 8) & 0xff] ^ table[2][(crc >> 16) & 0xff] ^
	       table[3][crc >> 24];
}

/*
 * Volatile, because the guest may be writing to what is copied: the value that
 * is checksummed and the value that is stored must come from one load.
 */
typedef uint64_t __attribute__((aligned(1), may_alias)) unaligned_u64;

static inline uint64_t load64(const unsigned char *p)
{
	return *(const volatile unaligned_u64 *)p;
}

static inline void store64(unsigned char *p, uint64_t value)
{
	memcpy(p, &value, sizeof(value));
}

/* `to` may be NULL: checksum only. Inlined twice, so that each caller's copy has no such branch. */
__attribute__((target("sse4.2"))) static inline __attribute__((always_inline)) uint32_t
crc_sse42(uint32_t crc, unsigned char *to, const unsigned char *p, size_t length)
{
	while (length >= 3 * (size_t)LANE) {
		uint64_t a = crc, b = 0, c = 0;

		for (size_t i = 0; i < LANE; i += 8) {
			uint64_t x = load64(p + i), y = load64(p + LANE + i), z = load64(p + 2 * (size_t)LANE + i);

			a = _mm_crc32_u64(a, x);
			b = _mm_crc32_u64(b, y);
			c = _mm_crc32_u64(c, z);
			if (to) {
				store64(to + i, x);
				store64(to + LANE + i, y);
				store64(to + 2 * (size_t)LANE + i, z);
			}
		}
		crc = shifted(shift_two, (uint32_t)a) ^ shifted(shift_one, (uint32_t)b) ^ (uint32_t)c;
		p += 3 * (size_t)LANE;
		length -= 3 * (size_t)LANE;
		if (to)
			to += 3 * (size_t)LANE;
	}
	for (; length >= 8; length -= 8, p += 8) {
		uint64_t x = load64(p);

		crc = (uint32_t)_mm_crc32_u64(crc, x);
		if (to) {
			store64(to, x);
			to += 8;
		}
	}
	for (; length > 0; length--, p++) {
		unsigned char x = *(const volatile unsigned char *)p;

		crc = _mm_crc32_u8(crc, x);
		if (to)
			*to++ = x;
	}
	return crc;
}

__attribute__((target("sse4.2"))) static uint32_t crc_only(uint32_t crc, const unsigned char *p, size_t length)
{
	return crc_sse42(crc, NULL, p, length);
}

__attribute__((target("sse4.2"))) static uint32_t crc_and_copy(uint32_t crc, unsigned char *to,
							       const unsigned char *p, size_t length)
{
	return crc_sse42(crc, to, p, length);
}

uint32_t ftd_crc32c(uint32_t crc, const void *data, uint64_t length)
{
	pthread_once(&once, prepare);
	return ~(have_sse42 ? crc_only(~crc, data, length) : crc_bytes(~crc, data, length));
}

uint32_t crc32c_copy(uint32_t crc, void *to, const void *from, size_t length)
{
	pthread_once(&once, prepare);
	if (have_sse42)
		return ~crc_and_copy(~crc, to, from, length);
	memcpy(to, from, length);
	return ~crc_bytes(~crc, to, length);	/* of the copy: the source may change under us */
}
