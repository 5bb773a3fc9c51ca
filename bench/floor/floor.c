#define _GNU_SOURCE
#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "floor.h"

#define WARM_UP_NS 500000000
#define RATE_MAX 100000

static const char usage[] =
    "usage: floor --image TOUCHER.bin [--rate 2500] [--seconds 10] [--memory-mib 256] [--pages 10] [--spin 0]\n"
    "             [--working-set PAGES] [--vcpus 1] [--tracker ring|bitmap] [--irqchip] [--unprotected]\n"
    "             [--pin] [--fifo] [--sender-fifo] [--self-send] [--low-latency]\n";

static uint64_t number(const char *text, uint64_t least, uint64_t most)
{
    char *end;
    errno = 0;
    uint64_t value = strtoull(text, &end, 10);
    if (errno != 0 || *end != '\0' || end == text || value < least || value > most) {
        fprintf(stderr, "floor: %s is not a number from %lu to %lu\n", text, least, most);
        exit(2);
    }
    return value;
}

static enum tracker tracker_named(const char *name)
{
    if (strcmp(name, "ring") == 0)
        return TRACKER_RING;
    if (strcmp(name, "bitmap") == 0)
        return TRACKER_BITMAP;
    fprintf(stderr, "floor: no tracker %s: ring or bitmap\n", name);
    exit(2);
}

static struct options parse(int argc, char **argv)
{
    struct options options = {.memory_bytes = 256UL << 20, .pages = 10, .rate = 2500, .seconds = 10, .vcpus = 1};
    enum { IMAGE, RATE, SECONDS, MEMORY, PAGES, SPIN, WORKING_SET, VCPUS, TRACKER, IRQCHIP, UNPROTECTED, PIN, FIFO,
           SENDER_FIFO, SELF_SEND, LOW_LATENCY };
    static const struct option names[] = {
        {"image", 1, NULL, IMAGE},       {"rate", 1, NULL, RATE},
        {"seconds", 1, NULL, SECONDS},   {"memory-mib", 1, NULL, MEMORY},
        {"pages", 1, NULL, PAGES},       {"spin", 1, NULL, SPIN},
        {"vcpus", 1, NULL, VCPUS},       {"working-set", 1, NULL, WORKING_SET},
        {"tracker", 1, NULL, TRACKER},   {"irqchip", 0, NULL, IRQCHIP},
        {"pin", 0, NULL, PIN},           {"unprotected", 0, NULL, UNPROTECTED},
        {"fifo", 0, NULL, FIFO},         {"sender-fifo", 0, NULL, SENDER_FIFO},
        {"self-send", 0, NULL, SELF_SEND}, {"low-latency", 0, NULL, LOW_LATENCY},
        {NULL, 0, NULL, 0},
    };
    for (int choice; (choice = getopt_long(argc, argv, "", names, NULL)) != -1;) {
        switch (choice) {
        case IMAGE: options.image = optarg; break;
        case RATE: options.rate = (unsigned)number(optarg, 1, RATE_MAX); break;
        case SECONDS: options.seconds = (unsigned)number(optarg, 1, 3600); break;
        case MEMORY: options.memory_bytes = number(optarg, 8, 32768) << 20; break;
        case PAGES: options.pages = number(optarg, 1, ARENA_PAGES / 2); break;
        case SPIN: options.spin = number(optarg, 0, UINT64_MAX); break;
        case WORKING_SET: options.working_set = number(optarg, 0, UINT64_MAX); break;
        case VCPUS: options.vcpus = (unsigned)number(optarg, 1, VCPUS_MAX); break;
        case TRACKER: options.tracker = tracker_named(optarg); break;
        case IRQCHIP: options.irqchip = true; break;
        case UNPROTECTED: options.unprotected = true; break;
        case PIN: options.pin = true; break;
        case FIFO: options.fifo = true; break;
        case SENDER_FIFO: options.sender_fifo = true; break;
        case SELF_SEND: options.self_send = true; break;
        case LOW_LATENCY: options.low_latency = true; break;
        default: fputs(usage, stderr); exit(2);
        }
    }
    if (options.image == NULL || optind != argc) {
        fputs(usage, stderr);
        exit(2);
    }
    return options;
}

static int compare_u32(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return (x > y) - (x < y);
}

/* Prints p50, p99 and mean in microseconds of one field of the samples. */
static void print_times(const char *name, const struct sample *samples, uint32_t count, size_t field)
{
    uint32_t *values = allocate((count + 1) * sizeof(*values), "sorting");
    double sum = 0;
    for (uint32_t i = 0; i < count; i++) {
        memcpy(&values[i], (const char *)&samples[i] + field, sizeof(*values));
        sum += values[i];
    }
    qsort(values, count, sizeof(*values), compare_u32);
    printf(", \"%s_us\": {\"p50\": %.2f, \"p99\": %.2f, \"mean\": %.2f}", name, values[count / 2] / 1e3,
           values[(uint64_t)count * 99 / 100] / 1e3, count ? sum / count / 1e3 : 0.0);
}

static double mean_pages(const struct sample *samples, uint32_t count)
{
    double sum = 0;
    for (uint32_t i = 0; i < count; i++)
        sum += samples[i].pages;
    return count ? sum / count : 0.0;
}

static void sleep_ns(uint64_t duration_ns)
{
    struct timespec duration = {.tv_sec = (time_t)(duration_ns / 1000000000),
                                .tv_nsec = (long)(duration_ns % 1000000000)};
    while (nanosleep(&duration, &duration) != 0 && errno == EINTR)
        ;
}

/* Runs for the wanted time after a warm-up and prints one line of JSON. */
static void measure(struct cycle *cycle, const struct machine *machine)
{
    sleep_ns(WARM_UP_NS);
    uint64_t start = now_ns(), rounds = machine_rounds(machine), stalls = atomic_load(&cycle->stalls);
    uint32_t acked = atomic_load(&cycle->shipping->acked.count), first = atomic_load(&cycle->sample_count);
    sleep_ns((uint64_t)cycle->options->seconds * 1000000000);
    uint32_t acked_end = atomic_load(&cycle->shipping->acked.count), end = atomic_load(&cycle->sample_count);
    double seconds = (double)(now_ns() - start) / 1e9;
    rounds = machine_rounds(machine) - rounds;
    stalls = atomic_load(&cycle->stalls) - stalls;

    const struct sample *samples = cycle->samples + first;
    printf("{\"acked_per_second\": %.1f, \"rounds_per_second\": %.1f, \"stalls\": %lu, \"state_bytes\": %zu",
           (acked_end - acked) / seconds, (double)rounds / seconds, stalls, cycle->shipping->state_bytes);
    if (!cycle->options->unprotected) {
        printf(", \"pages_per_epoch\": %.2f", mean_pages(samples, end - first));
        print_times("pause", samples, end - first, offsetof(struct sample, pause_ns));
        print_times("state", samples, end - first, offsetof(struct sample, state_ns));
        print_times("harvest", samples, end - first, offsetof(struct sample, harvest_ns));
        print_times("copy", samples, end - first, offsetof(struct sample, copy_ns));
        print_times("rearm", samples, end - first, offsetof(struct sample, rearm_ns));
        print_times("wake", samples, end - first, offsetof(struct sample, wake_ns));
    }
    printf("}\n");
}

int main(int argc, char **argv)
{
    struct options options = parse(argc, argv);
    static struct machine machine;
    static struct tracker_state tracker;
    static struct shipping shipping;
    static struct cycle cycle;

    if (options.low_latency)
        forbid_halting();
    machine_create(&machine, &options);
    cycle = (struct cycle){
        .options = &options, .machine = &machine, .tracker = &tracker, .shipping = &shipping};
    if (!options.unprotected) {
        cycle.samples_max = (options.seconds + 2) * options.rate;
        cycle.samples = allocate(cycle.samples_max * sizeof(*cycle.samples), "samples");
        tracker_create(&tracker, &machine, options.tracker);
        shipping_connect(&shipping, state_bytes(&machine), options.sender_fifo);
        if (options.pin) /* threads made from here on inherit it; vCPU threads move away */
            pin_to((unsigned)sysconf(_SC_NPROCESSORS_ONLN) - 1);
        shipping_start(&shipping, options.self_send, options.sender_fifo);
    }
    cycle_start(&cycle);
    measure(&cycle, &machine);
    cycle_stop(&cycle);
    if (!options.unprotected)
        shipping_stop(&shipping);
    return 0;
}
