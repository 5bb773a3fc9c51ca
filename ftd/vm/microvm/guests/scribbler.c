/*
 * Scribbler: writes numbered units to the disk, reads them back, discards, zeroes and flushes; and keeps in memory
 * what it believes to be on the disk.
 *
 * args[0]  units on the disk (default: all that fit, at most 16384)
 * args[1]  0: everything in turns, each unit read is verified; 1: only writes, in order, for measuring; 2: only
 *          reads, for measuring; 3: only writes, each followed by a flush
 * args[2]  bytes of a unit: a multiple of 4096, at most 131072 (default 4096)
 * args[3]  requests at a time, 1 to 8 (default 4)
 * args[4]  spin count between two requests
 * args[5]  first number of the random choice
 *
 * Version v of unit u: word 0 of each 512 bytes is v, word 1 is u, and in mode 0 the others are v * 31 + u + their
 * index; version 0 is all zeros. At 4 MiB lies, for each unit, the version that is known to be on the disk, and
 * 128 KiB further the version that was last asked for: what the disk has is one of the two. A request that failed leaves
 * the first at UNKNOWN.
 *
 * Counters: [0] requests that ended, [1] 1 after a wrong unit, then [2] its number, [3] the version expected, [4] the
 * word found; [5] requests that failed, [6] flushes, [7] bytes written or read.
 */
#include "boot.h"
#include "disk.h"
#include "serial.h"

#define UNITS_MAX 16384ULL
#define UNIT_BYTES_MAX 131072ULL
#define UNKNOWN UINT64_MAX
#define SECTOR_WORDS 64ULL
#define BUFFERS_ADDRESS (DATA_ADDRESS + 0x100000ULL)

enum { MODE_ALL, MODE_WRITES, MODE_READS, MODE_DURABLE };

struct job {
    enum disk_request request;
    uint64_t unit;
    uint64_t version;
    int busy;
};

struct scribbler {
    uint64_t units;
    uint64_t unit_bytes;
    uint64_t mode;
    uint64_t depth;
    uint64_t random;
    uint64_t next_version;
    uint64_t next_unit;
    struct job jobs[DISK_SLOTS];
};

static volatile uint64_t *const done = (volatile uint64_t *)DATA_ADDRESS;
static volatile uint64_t *const asked = (volatile uint64_t *)(DATA_ADDRESS + 8 * UNITS_MAX);

static uint64_t *buffer_of(uint32_t slot)
{
    return (uint64_t *)(BUFFERS_ADDRESS + slot * UNIT_BYTES_MAX);
}

static uint64_t next_random(struct scribbler *s)
{
    uint64_t x = s->random;
    x ^= x << 13;
    x ^= x >> 7;
    x ^= x << 17;
    s->random = x;
    return x >> 11;
}

static uint64_t word_of(uint64_t unit, uint64_t version, uint64_t index)
{
    if (version == 0)
        return 0;
    switch (index % SECTOR_WORDS) {
    case 0:
        return version;
    case 1:
        return unit;
    default:
        return version * 31 + unit + index;
    }
}

static void fill(struct scribbler *s, uint32_t slot)
{
    uint64_t *words = buffer_of(slot), all = s->mode == MODE_ALL;
    const struct job *job = &s->jobs[slot];

    for (uint64_t i = 0; i < s->unit_bytes / 8; i += all || i % SECTOR_WORDS == 0 ? 1 : SECTOR_WORDS - 1)
        words[i] = word_of(job->unit, job->version, i);
}

static int verify(struct scribbler *s, uint32_t slot, volatile uint64_t *counters)
{
    const struct job *job = &s->jobs[slot];
    const uint64_t *words = buffer_of(slot);

    for (uint64_t i = 0; i < s->unit_bytes / 8; i++) {
        if (words[i] == word_of(job->unit, job->version, i))
            continue;
        counters[2] = job->unit;
        counters[3] = job->version;
        counters[4] = words[i];
        counters[1] = 1;
        serial_write("scribbler: the disk is not as it was left\n");
        return 0;
    }
    return 1;
}

static void choose(struct scribbler *s, struct job *job)
{
    uint64_t choice = next_random(s) % 100;

    if (s->mode == MODE_READS)
        job->request = DISK_READ;
    else if (s->mode != MODE_ALL || choice < 55 || done[job->unit] == UNKNOWN)
        job->request = DISK_WRITE;
    else if (choice < 80)
        job->request = DISK_READ;
    else if (choice < 86)
        job->request = DISK_DISCARD;
    else if (choice < 92)
        job->request = DISK_ZEROES;
    else
        job->request = DISK_FLUSH;
    if (job->request == DISK_READ)
        job->version = done[job->unit];
    else
        job->version = job->request == DISK_WRITE ? s->next_version++ : 0;
}

/* Units of different slots are different, so that each has one request at a time. */
static void begin(struct scribbler *s, uint32_t slot)
{
    struct job *job = &s->jobs[slot];
    uint64_t rows = s->units / s->depth;
    uint64_t row = s->mode == MODE_ALL ? next_random(s) % rows : s->next_unit++ / s->depth % rows;

    if (s->mode == MODE_DURABLE && job->request == DISK_WRITE) {
        job->request = DISK_FLUSH;
    } else {
        job->unit = row * s->depth + slot;
        choose(s, job);
    }
    if (job->request != DISK_READ && job->request != DISK_FLUSH)
        asked[job->unit] = job->version;
    if (job->request == DISK_WRITE)
        fill(s, slot);
    job->busy = 1;
    disk_submit(slot, job->request, job->unit * s->unit_bytes, (uint32_t)s->unit_bytes, buffer_of(slot));
}

static int end(struct scribbler *s, uint32_t slot, uint8_t status, volatile uint64_t *counters)
{
    struct job *job = &s->jobs[slot];

    job->busy = 0;
    counters[0]++;
    if (status != 0)
        counters[5]++;
    if (job->request == DISK_FLUSH) {
        counters[6]++;
        return 1;
    }
    counters[7] += s->unit_bytes;
    if (job->request == DISK_READ)
        return status != 0 || s->mode == MODE_READS || verify(s, slot, counters);
    done[job->unit] = status == 0 ? job->version : UNKNOWN;
    return 1;
}

static int is_usable(const struct scribbler *s)
{
    return s->unit_bytes % PAGE_BYTES == 0 && s->unit_bytes <= UNIT_BYTES_MAX && s->depth <= DISK_SLOTS &&
           s->units >= s->depth && s->units <= UNITS_MAX;
}

static void scribble(struct scribbler *s, uint64_t spin_count, volatile uint64_t *counters)
{
    for (;;) {
        uint8_t status;
        int slot;

        for (uint32_t i = 0; i < s->depth; i++)
            if (!s->jobs[i].busy)
                begin(s, i);
        while ((slot = disk_poll(&status)) < 0)
            cpu_pause();
        if (!end(s, (uint32_t)slot, status, counters))
            return;
        spin(spin_count);
    }
}

void guest_main(uint64_t vcpu, const struct boot_block *boot)
{
    static struct scribbler s;
    uint64_t disk_bytes;

    if (vcpu != 0 || boot->magic != BOOT_MAGIC)
        return;
    disk_bytes = disk_open();
    s.mode = boot->args[1];
    s.unit_bytes = arg_or(boot->args[2], PAGE_BYTES);
    s.depth = arg_or(boot->args[3], 4);
    s.random = arg_or(boot->args[5], 88172645463325252ULL);
    s.next_version = 1;
    s.units = disk_bytes / s.unit_bytes < UNITS_MAX ? disk_bytes / s.unit_bytes : UNITS_MAX;
    if (boot->args[0] != 0 && boot->args[0] < s.units)
        s.units = boot->args[0];
    if (!is_usable(&s)) {
        serial_write("scribbler: no usable disk\n");
        return;
    }
    serial_write("scribbler ready\n");
    scribble(&s, boot->args[4], counters_of(0));
}
