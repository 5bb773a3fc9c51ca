#include "chain.h"

#define RECORD_PAGES_DEFAULT 64
#define RECORD_STRIDE_MIN 37 /* neighbours lie this many pages apart, or a little more */
#define RECORDS_PER_PAGE (PAGE_BYTES / sizeof(struct record))
#define SCRATCH_TURNS 4 /* a scratch page is written again after so many requests */
#define FNV_BASIS 0xcbf29ce484222325ULL
#define FNV_PRIME 0x100000001b3ULL

static struct {
    uint64_t record_pages;
    uint64_t record_stride; /* coprime to record_pages, so that every slot has a place of its own */
    uint64_t scratch_offset;
    uint64_t scratch_pages;
    volatile uint64_t last;
} chain;

static uint64_t greatest_common_divisor(uint64_t a, uint64_t b)
{
    while (b != 0) {
        uint64_t rest = a % b;
        a = b;
        b = rest;
    }
    return a;
}

static volatile struct record *record_of(uint64_t number)
{
    uint64_t slot = number % (chain.record_pages * RECORDS_PER_PAGE);
    uint64_t page = slot * chain.record_stride % chain.record_pages;
    uint64_t place = slot / chain.record_pages;
    return (volatile struct record *)ram_address(DATA_ADDRESS + page * PAGE_BYTES) + place;
}

static uint64_t hash_bytes(uint64_t hash, const void *bytes, uint32_t length)
{
    const uint8_t *byte = bytes;
    for (uint32_t i = 0; i < length; i++)
        hash = (hash ^ byte[i]) * FNV_PRIME;
    return hash;
}

static uint64_t hash_word(uint64_t hash, uint64_t word)
{
    return hash_bytes(hash, &word, sizeof(word));
}

static uint64_t kept_hash(uint64_t number, uint64_t lag)
{
    return number > lag ? record_of(number - lag)->hash : 0;
}

/* Stamps this request's scratch pages with its number. Not 0: one held a wrong stamp. */
static uint64_t write_scratch(uint64_t number)
{
    uint64_t expected = number > SCRATCH_TURNS ? number - SCRATCH_TURNS : 0;
    uint64_t first = (number - 1) % SCRATCH_TURNS * chain.scratch_pages;
    uint64_t damage = 0;

    for (uint64_t page = first; page < first + chain.scratch_pages; page++) {
        volatile uint64_t *stamp = (volatile uint64_t *)ram_address(chain.scratch_offset + page * PAGE_BYTES);
        damage |= *stamp ^ expected;
        *stamp = number;
    }
    return damage;
}

int chain_open(const struct boot_block *boot)
{
    uint64_t pages = arg_or(boot->args[0], RECORD_PAGES_DEFAULT);
    uint64_t scratch = boot->args[1];

    if (pages_that_fit(boot, DATA_ADDRESS, pages) < pages)
        return -1;
    chain.scratch_offset = DATA_ADDRESS + pages * PAGE_BYTES;
    if (scratch > UINT64_MAX / SCRATCH_TURNS ||
        pages_that_fit(boot, chain.scratch_offset, scratch * SCRATCH_TURNS) < scratch * SCRATCH_TURNS)
        return -1;
    chain.record_pages = pages;
    chain.scratch_pages = scratch;
    chain.record_stride = RECORD_STRIDE_MIN;
    while (greatest_common_divisor(chain.record_stride, pages) != 1)
        chain.record_stride++;
    return 0;
}

uint64_t chain_last(void)
{
    return chain.last;
}

uint64_t chain_append(const char *payload, uint32_t length)
{
    uint64_t number = chain.last + 1;
    uint64_t hash = hash_word(FNV_BASIS, kept_hash(number, 1));
    hash = hash_word(hash, kept_hash(number, CHAIN_LAG));
    hash = hash_word(hash, number);
    hash = hash_bytes(hash, payload, length);
    uint64_t damage = write_scratch(number);
    if (damage != 0)
        hash = hash_word(hash, damage);

    volatile struct record *record = record_of(number);
    record->hash = hash;
    record->number = number;
    chain.last = number;
    return hash;
}

struct record chain_record(uint64_t number)
{
    volatile struct record *record = record_of(number);
    return (struct record){.number = record->number, .hash = record->hash};
}
