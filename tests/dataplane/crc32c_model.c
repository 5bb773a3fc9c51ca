/* SPDX-License-Identifier: Apache-2.0 */
/*
 * CRC32C, in each way that this processor has, against a table-driven one: at
 * every length from 0 to LENGTH_MAX and every alignment; continuation; copying.
 */
#include <string.h>

#include "check.h"
#include "crc32c.h"

#define LENGTH_MAX 9000u
#define ALIGNMENTS 8u

static uint32_t table[256];

static void make_table(void)
{
	for (uint32_t value = 0; value < 256; value++) {
		uint32_t crc = value;

		for (int bit = 0; bit < 8; bit++)
			crc = crc >> 1 ^ (crc & 1 ? 0x82f63b78u : 0);
		table[value] = crc;
	}
}

static uint32_t model(uint32_t crc, const unsigned char *data, size_t length)
{
	crc = ~crc;
	while (length--)
		crc = crc >> 8 ^ table[(crc ^ *data++) & 0xff];
	return ~crc;
}

static void check_lengths(const unsigned char *data)
{
	for (uint32_t at = 0; at < ALIGNMENTS; at++) {
		uint32_t expected = 0;

		for (uint32_t length = 0; length <= LENGTH_MAX; length++) {
			CHECK(ftd_crc32c(0, data + at, length) == expected, "alignment %u, length %u", at, length);
			expected = model(expected, data + at + length, 1);
		}
	}
}

static void check_continuation(const unsigned char *data, struct random *random)
{
	for (int i = 0; i < 5000; i++) {
		uint32_t length = random_below(random, LENGTH_MAX + 1), cut = random_below(random, length + 1);
		uint32_t start = (uint32_t)random_u64(random);

		CHECK(ftd_crc32c(ftd_crc32c(start, data, cut), data + cut, length - cut) == model(start, data, length),
		      "start 0x%x, length %u cut at %u", start, length, cut);
	}
}

static void check_copy(const unsigned char *data, struct random *random)
{
	for (int i = 0; i < 5000; i++) {
		uint32_t from = random_below(random, ALIGNMENTS), to = random_below(random, ALIGNMENTS);
		uint32_t length = random_below(random, LENGTH_MAX + 1), start = (uint32_t)random_u64(random);
		unsigned char *copy = malloc(to + length + 1);	/* exact: an overrun is seen */

		CHECK(copy, "no memory");
		copy[to + length] = 0xa5;
		CHECK(crc32c_copy(start, copy + to, data + from, length) == model(start, data + from, length),
		      "from %u to %u, length %u", from, to, length);
		CHECK(memcmp(copy + to, data + from, length) == 0, "from %u to %u, length %u", from, to, length);
		CHECK(copy[to + length] == 0xa5, "wrote past its end");
		free(copy);
	}
}

int main(int argc, char **argv)
{
	struct random random = { argument_or(argc, argv, 1, 1) };
	unsigned char *data = malloc(LENGTH_MAX + ALIGNMENTS);

	CHECK(data, "no memory");
	make_table();
	for (uint32_t i = 0; i < LENGTH_MAX + ALIGNMENTS; i++)
		data[i] = (unsigned char)random_u64(&random);
	for (enum crc32c_way way = CRC32C_TABLE; crc32c_limit(way) == way; way++) {
		CHECK(ftd_crc32c(0, "123456789", 9) == 0xe3069283u, "the value that RFC 3720's algorithm is known by");
		check_lengths(data);
		check_continuation(data, &random);
		check_copy(data, &random);
		if (way == CRC32C_FOLD_64)
			break;
	}
	free(data);
	return 0;
}
