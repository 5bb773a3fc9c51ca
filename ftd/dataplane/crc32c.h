/* SPDX-License-Identifier: Apache-2.0 */
/*
 * CRC32C (Castagnoli, reflected, initial and final inversion), as in RFC 3720.
 * ftd_crc32c(ftd_crc32c(0, a), b) is the CRC of a followed by b. Uses the
 * SSE4.2 instruction in three interleaved streams where the processor has it.
 */
#ifndef FTD_CRC32C_H
#define FTD_CRC32C_H

#include <stddef.h>
#include <stdint.h>

uint32_t ftd_crc32c(uint32_t crc, const void *data, uint64_t length);
/* Copies and checksums in one pass, so that the source is read once. */
uint32_t crc32c_copy(uint32_t crc, void *to, const void *from, size_t length);

#endif
