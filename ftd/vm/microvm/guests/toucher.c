/*
 * Memory toucher: dirties pages at a chosen pace and counts rounds, for measuring and for finding lost pages.
 *
 * args[0]  N, pages a round (default 1)
 * args[1]  spin count after each page
 * args[2]  W, pages of the working set (default N: the same pages in each round)
 * args[3]  first byte of vCPU 0's working set as an offset in memory (default 4 MiB); the others' follow it
 * args[4]  1: verify each page before it is written
 *
 * Touch t (from 0) writes round t / N + 1 into page t % W, at a place in the page that depends on the page.
 * So what a page must hold before touch t follows from t alone, and a page that a failover lost or took from
 * another epoch shows. Counters of each vCPU: [0] whole rounds, [1] 1 after a wrong page, then [2] its
 * address, [3] the value expected, [4] the value found.
 */
#include "boot.h"

struct walk {
    uint64_t region_offset;
    uint64_t region_pages;
    uint64_t round_pages;
    uint64_t spin_count;
};

static volatile uint64_t *slot_of(const struct walk *walk, uint64_t page)
{
    uint64_t address = ram_address(walk->region_offset + page * PAGE_BYTES);
    return (volatile uint64_t *)(address + (page * 72) % PAGE_BYTES);
}

/* What the page of touch `touch` holds from its previous touch. */
static uint64_t expected_before(const struct walk *walk, uint64_t touch)
{
    return touch < walk->region_pages ? 0 : (touch - walk->region_pages) / walk->round_pages + 1;
}

/* One round from touch `touch` and page `*page` on; 0 when verifying found a wrong page. */
static int run_round(const struct walk *walk, uint64_t round, uint64_t *page, int verify, volatile uint64_t *counters)
{
    uint64_t first_touch = (round - 1) * walk->round_pages;

    for (uint64_t i = 0; i < walk->round_pages; i++) {
        volatile uint64_t *slot = slot_of(walk, *page);
        if (verify) {
            uint64_t expected = expected_before(walk, first_touch + i);
            uint64_t found = *slot;
            if (found != expected) {
                counters[2] = (uint64_t)slot;
                counters[3] = expected;
                counters[4] = found;
                counters[1] = 1;
                return 0;
            }
        }
        *slot = round;
        *page = *page + 1 == walk->region_pages ? 0 : *page + 1;
        spin(walk->spin_count);
    }
    return 1;
}

void guest_main(uint64_t vcpu, const struct boot_block *boot)
{
    volatile uint64_t *counters = counters_of(vcpu);
    struct walk walk = {.round_pages = arg_or(boot->args[0], 1), .spin_count = boot->args[1]};
    uint64_t wanted = arg_or(boot->args[2], walk.round_pages);
    int verify = boot->args[4] == 1;
    uint64_t page = 0;

    walk.region_offset = arg_or(boot->args[3], DATA_ADDRESS) + vcpu * wanted * PAGE_BYTES;
    walk.region_pages = pages_that_fit(boot, walk.region_offset, wanted);
    if (boot->magic != BOOT_MAGIC || walk.region_pages == 0)
        return;
    for (uint64_t round = 1; run_round(&walk, round, &page, verify, counters); round++)
        counters[0] = round;
}
