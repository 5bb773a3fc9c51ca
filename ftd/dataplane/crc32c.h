/* SPDX-License-Identifier: Apache-2.0 */
/*
 * CRC32C (Castagnoli, reflected, initial and final inversion), as in RFC 3720.
 * ftd_crc32c(ftd_crc32c(0, a), b) is the CRC of a followed by b.
 */
#ifndef FTD_CRC32C_H
#define FTD_CRC32C_H

#include <stddef.h>
#include <stdint.h>

uint32_t ftd_crc32c(uint32_t crc, const void *data, uint64_t length);
/* Copies and checksums in one pass, so that the source is read once. */
uint32_t crc32c_copy(uint32_t crc, void *to, const void *from, size_t length);

/* By rising speed: a table; carry-less multiplication of 16 bytes, and of 64 at once. */
enum crc32c_way { CRC32C_TABLE, CRC32C_FOLD_16, CRC32C_FOLD_64 };
/* For tests: as if the processor had no more than this. Returns what is used now. Not while others compute. */
enum crc32c_way crc32c_limit(enum crc32c_way most);

#endif
