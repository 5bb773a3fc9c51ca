/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A message is a polynomial, its CRC the remainder of that times x^32. What
 * was read so far stands in a register as a polynomial with the same remainder
 * and is carried over the next bytes by multiplication with x^(their bits):
 * its upper and its lower half each with a constant of 32 bits, so that the
 * product fits the register again. Several registers take turns, because the
 * multiplication has a latency of some cycles; at the end they are folded into
 * one of 16 bytes, and the crc32 instruction makes the remainder of it.
 *
 * Bits are reflected: the first byte's lowest bit is the highest power. The
 * product of two reflected numbers comes out one bit too low, which the
 * constants make up for.
 *
 * V. Gopal et al., "Fast CRC Computation for Generic Polynomials Using PCLMULQDQ
 * Instruction", Intel, 2009.
 */
#include "crc32c.h"

#include <immintrin.h>
#include <pthread.h>
#include <string.h>

#define POLYNOMIAL 0x82f63b78u	/* reflected */
#define TAIL __attribute__((target("sse4.2"), always_inline)) static inline
#define NARROW_TARGET "sse4.2,pclmul"
#define NARROW __attribute__((target(NARROW_TARGET), always_inline)) static inline
#define WIDE_TARGET "avx512f,vpclmulqdq,pclmul,sse4.2"
#define WIDE __attribute__((target(WIDE_TARGET), always_inline)) static inline

/* What carries a register of 16 bytes over `bits` bits: x^(bits + 32) for its first half, x^(bits - 32) for the other. */
struct carry {
	uint64_t first, second;
};

static uint32_t byte_table[256];
static struct carry over_128, over_512, over_2048;
static enum crc32c_way best, way;
static pthread_once_t once = PTHREAD_ONCE_INIT;

/* crc * x */
static uint32_t times_x(uint32_t crc)
{
	return crc & 1 ? (crc >> 1) ^ POLYNOMIAL : crc >> 1;
}

static uint64_t power_of_x(unsigned int n)
{
	uint32_t power = 1u << 31;

	while (n--)
		power = times_x(power);
	return (uint64_t)power << 1;
}

static struct carry carry_over(unsigned int bits)
{
	return (struct carry){ power_of_x(bits + 32), power_of_x(bits - 32) };
}

static enum crc32c_way best_way(void)
{
	if (!__builtin_cpu_supports("sse4.2") || !__builtin_cpu_supports("pclmul"))
		return CRC32C_TABLE;
	return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("vpclmulqdq") ? CRC32C_FOLD_64 :
											  CRC32C_FOLD_16;
}

static void prepare(void)
{
	for (unsigned int value = 0; value < 256; value++) {
		byte_table[value] = value;
		for (int bit = 0; bit < 8; bit++)
			byte_table[value] = times_x(byte_table[value]);
	}
	over_128 = carry_over(128);
	over_512 = carry_over(512);
	over_2048 = carry_over(2048);
	way = best = best_way();
}

enum crc32c_way crc32c_limit(enum crc32c_way most)
{
	pthread_once(&once, prepare);
	way = most < best ? most : best;
	return way;
}

/* ---- one byte at a time ---- */

static uint32_t crc_table(uint32_t crc, const unsigned char *from, size_t length)
{
	while (length--)
		crc = byte_table[(crc ^ *from++) & 0xff] ^ (crc >> 8);
	return crc;
}

/*
 * ---- by the instruction, for what is left over ----
 *
 * Everywhere from here on `to` may be NULL: checksum only. The guest may be
 * writing to what is copied: what is checksummed and what is stored must come
 * from one load. So loads are volatile, or hidden from the compiler, which
 * else could load again.
 */
typedef uint64_t __attribute__((aligned(1), may_alias)) unaligned_u64;

TAIL uint32_t crc_tail(uint32_t crc, unsigned char *to, const unsigned char *from, size_t at, size_t length)
{
	for (; length - at >= 8; at += 8) {
		uint64_t word = *(const volatile unaligned_u64 *)(from + at);

		crc = (uint32_t)_mm_crc32_u64(crc, word);
		if (to)
			memcpy(to + at, &word, sizeof(word));
	}
	for (; at < length; at++) {
		unsigned char byte = *(const volatile unsigned char *)(from + at);

		crc = _mm_crc32_u8(crc, byte);
		if (to)
			to[at] = byte;
	}
	return crc;
}

/* ---- by 16 bytes ---- */

NARROW __m128i take_16(unsigned char *to, const unsigned char *from, size_t at)
{
	__m128i data = _mm_loadu_si128((const __m128i_u *)(const void *)(from + at));

	__asm__ volatile("" : "+x"(data));
	if (to)
		_mm_storeu_si128((__m128i_u *)(void *)(to + at), data);
	return data;
}

NARROW __m128i carry_16(const struct carry *carry)
{
	return _mm_set_epi64x((long long)carry->second, (long long)carry->first);
}

NARROW __m128i fold_16(__m128i sum, __m128i carry, __m128i next)
{
	return _mm_xor_si128(next, _mm_xor_si128(_mm_clmulepi64_si128(sum, carry, 0x00),
						 _mm_clmulepi64_si128(sum, carry, 0x11)));
}

/* `sum` stands for all before `at`. */
NARROW uint32_t finish(__m128i sum, unsigned char *to, const unsigned char *from, size_t at, size_t length)
{
	__m128i carry = carry_16(&over_128);
	uint64_t crc;

	for (; length - at >= 16; at += 16)
		sum = fold_16(sum, carry, take_16(to, from, at));
	crc = _mm_crc32_u64(0, (uint64_t)_mm_cvtsi128_si64(sum));
	crc = _mm_crc32_u64(crc, (uint64_t)_mm_extract_epi64(sum, 1));
	return crc_tail((uint32_t)crc, to, from, at, length);
}

NARROW uint32_t crc_narrow(uint32_t crc, unsigned char *to, const unsigned char *from, size_t length)
{
	__m128i sum[4], carry = carry_16(&over_512);
	size_t at = 64;

	if (length < 64)
		return crc_tail(crc, to, from, 0, length);
#pragma GCC unroll 4	/* else the array is not kept in registers */
	for (size_t i = 0; i < 4; i++)
		sum[i] = take_16(to, from, 16 * i);
	sum[0] = _mm_xor_si128(sum[0], _mm_cvtsi32_si128((int)crc));
	for (; length - at >= 64; at += 64)
#pragma GCC unroll 4
		for (size_t i = 0; i < 4; i++)
			sum[i] = fold_16(sum[i], carry, take_16(to, from, at + 16 * i));
	carry = carry_16(&over_128);
#pragma GCC unroll 4
	for (size_t i = 1; i < 4; i++)
		sum[i] = fold_16(sum[i - 1], carry, sum[i]);
	return finish(sum[3], to, from, at, length);
}

/* ---- by 64 bytes ---- */

WIDE __m512i take_64(unsigned char *to, const unsigned char *from, size_t at)
{
	__m512i data = _mm512_loadu_si512(from + at);

	__asm__ volatile("" : "+v"(data));
	if (to)
		_mm512_storeu_si512(to + at, data);
	return data;
}

WIDE __m512i fold_64(__m512i sum, __m512i carry, __m512i next)
{
	enum { XOR_OF_THREE = 0x96 };

	return _mm512_ternarylogic_epi64(next, _mm512_clmulepi64_epi128(sum, carry, 0x00),
					 _mm512_clmulepi64_epi128(sum, carry, 0x11), XOR_OF_THREE);
}

WIDE uint32_t crc_wide(uint32_t crc, unsigned char *to, const unsigned char *from, size_t length)
{
	__m512i sum[4], carry = _mm512_broadcast_i32x4(carry_16(&over_2048));
	__m128i last, narrow = carry_16(&over_128);
	size_t at = 256;

	if (length < 256)
		return crc_narrow(crc, to, from, length);
#pragma GCC unroll 4	/* else the array is not kept in registers */
	for (size_t i = 0; i < 4; i++)
		sum[i] = take_64(to, from, 64 * i);
	sum[0] = _mm512_xor_si512(sum[0], _mm512_zextsi128_si512(_mm_cvtsi32_si128((int)crc)));
	for (; length - at >= 256; at += 256)
#pragma GCC unroll 4
		for (size_t i = 0; i < 4; i++)
			sum[i] = fold_64(sum[i], carry, take_64(to, from, at + 64 * i));
	carry = _mm512_broadcast_i32x4(carry_16(&over_512));
#pragma GCC unroll 4
	for (size_t i = 1; i < 4; i++)
		sum[i] = fold_64(sum[i - 1], carry, sum[i]);
	for (; length - at >= 64; at += 64)
		sum[3] = fold_64(sum[3], carry, take_64(to, from, at));
	last = fold_16(_mm512_castsi512_si128(sum[3]), narrow, _mm512_extracti32x4_epi32(sum[3], 1));
	last = fold_16(last, narrow, _mm512_extracti32x4_epi32(sum[3], 2));
	last = fold_16(last, narrow, _mm512_extracti32x4_epi32(sum[3], 3));
	return finish(last, to, from, at, length);
}

/* ---- each with and without copying: no branch for it inside ---- */

__attribute__((target(NARROW_TARGET))) static uint32_t sum_narrow(uint32_t crc, const unsigned char *from, size_t length)
{
	return crc_narrow(crc, NULL, from, length);
}

__attribute__((target(NARROW_TARGET))) static uint32_t copy_narrow(uint32_t crc, unsigned char *to,
								   const unsigned char *from, size_t length)
{
	return crc_narrow(crc, to, from, length);
}

__attribute__((target(WIDE_TARGET))) static uint32_t sum_wide(uint32_t crc, const unsigned char *from, size_t length)
{
	return crc_wide(crc, NULL, from, length);
}

__attribute__((target(WIDE_TARGET))) static uint32_t copy_wide(uint32_t crc, unsigned char *to,
							       const unsigned char *from, size_t length)
{
	return crc_wide(crc, to, from, length);
}

uint32_t ftd_crc32c(uint32_t crc, const void *data, uint64_t length)
{
	pthread_once(&once, prepare);
	switch (way) {
	case CRC32C_FOLD_64:
		return ~sum_wide(~crc, data, length);
	case CRC32C_FOLD_16:
		return ~sum_narrow(~crc, data, length);
	default:
		return ~crc_table(~crc, data, length);
	}
}

uint32_t crc32c_copy(uint32_t crc, void *to, const void *from, size_t length)
{
	pthread_once(&once, prepare);
	switch (way) {
	case CRC32C_FOLD_64:
		return ~copy_wide(~crc, to, from, length);
	case CRC32C_FOLD_16:
		return ~copy_narrow(~crc, to, from, length);
	default:
		memcpy(to, from, length);
		return ~crc_table(~crc, to, length);	/* of the copy: the source may change under us */
	}
}
