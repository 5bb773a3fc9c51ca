/*
 * Memory filler: fills pages with data that no zero-page test or compressor makes smaller, then keeps one
 * page slowly changing. For measuring a first synchronisation.
 *
 * args[0]  pages to fill (default and at most: all from the start offset on)
 * args[1]  spin count between two writes of the page that keeps changing (default 100,000)
 * args[2]  first byte as an offset in memory (default 4 MiB)
 *
 * Counters of vCPU 0: [0] writes since the fill ended, [1] 1 once the fill has ended, [2] pages filled so
 * far.
 */
#include "boot.h"

/* xorshift64*: never 0 from a state that is not 0, and the multiplier is odd, so no word is 0 either. */
static uint64_t next_random(uint64_t *state)
{
    uint64_t x = *state;
    x ^= x >> 12;
    x ^= x << 25;
    x ^= x >> 27;
    *state = x;
    return x * 0x2545f4914f6cdd1dULL;
}

static void fill_page(uint64_t address, uint64_t *random)
{
    volatile uint64_t *words = (volatile uint64_t *)address;
    for (uint64_t i = 0; i < PAGE_BYTES / sizeof(*words); i++)
        words[i] = next_random(random);
}

void guest_main(uint64_t vcpu, const struct boot_block *boot)
{
    volatile uint64_t *counters = counters_of(vcpu);
    uint64_t start = arg_or(boot->args[2], DATA_ADDRESS);
    uint64_t pages = pages_that_fit(boot, start, arg_or(boot->args[0], UINT64_MAX));
    uint64_t spin_count = arg_or(boot->args[1], 100000);
    uint64_t random = 0x9e3779b97f4a7c15ULL;

    if (vcpu != 0 || boot->magic != BOOT_MAGIC || pages == 0)
        return;
    for (uint64_t page = 0; page < pages; page++) {
        fill_page(ram_address(start + page * PAGE_BYTES), &random);
        counters[2] = page + 1;
    }
    counters[1] = 1;
    for (uint64_t writes = 1;; writes++) {
        *(volatile uint64_t *)ram_address(start) = next_random(&random);
        counters[0] = writes;
        spin(spin_count);
    }
}
