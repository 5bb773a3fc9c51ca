/*
 * The ledger's memory: a running hash whose past lies spread over many pages.
 *
 *     H(n) = FNV-1a-64 of H(n-1) | H(n-37) | n | payload     integers: 8 bytes, little-endian
 *     H(n) = 0 for n <= 0
 *
 * H(n-1) and H(n-37) are read back from their records, so a page that a failover lost or took from another
 * epoch breaks the chain at once or 37 requests later. Scratch pages are checked when they are written again,
 * and a wrong one is hashed in as well.
 */
#ifndef FTD_GUEST_CHAIN_H
#define FTD_GUEST_CHAIN_H

#include <stdint.h>

#include "boot.h"

#define CHAIN_LAG 37

struct record {
    uint64_t number;
    uint64_t hash;
};

/*
 * args[0] is the number of record pages (default 64), args[1] the number of scratch pages written for each
 * request. Returns -1 when they do not fit in memory.
 */
int chain_open(const struct boot_block *boot);

/* The number of the last request that was chained. */
uint64_t chain_last(void);

/* Chains request chain_last() + 1 and returns its hash. */
uint64_t chain_append(const char *payload, uint32_t length);

/* The record of a request; its number differs from what was asked for when it is no longer kept. */
struct record chain_record(uint64_t number);

#endif
