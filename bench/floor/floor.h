/*
 * The floor: the least that protecting a guest costs on a machine. It does the work of one checkpoint cycle
 * with no product around it: no checksums, no heartbeat, no output gate, no decisions. Nothing here is shared
 * with ftd, so that a fault of ftd cannot hide in the yardstick.
 *
 *     vCPU thread 0: timer signal -> state, harvest, copy, re-arm -> guest runs on
 *       -> sender thread -> loopback TCP -> child process -> ack -> ack thread frees the arena
 */
#ifndef FTD_BENCH_FLOOR_H
#define FTD_BENCH_FLOOR_H

#include <linux/kvm.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PAGE_BYTES 4096UL
#define VCPUS_MAX 8
#define ARENAS 4
#define ARENA_PAGES 8192
#define RING_ENTRIES 4096
#define HEADER_BYTES 80
#define MSRS_MAX 512

enum tracker { TRACKER_RING, TRACKER_BITMAP };

struct options {
    const char *image;
    uint64_t memory_bytes;
    uint64_t pages;
    uint64_t spin;
    uint64_t working_set;
    unsigned rate;
    unsigned seconds;
    unsigned vcpus;
    enum tracker tracker;
    bool irqchip;
    bool unprotected;
    bool pin;       /* vCPU i on processor i, everything else on the last one */
    bool fifo;      /* SCHED_FIFO for vCPU threads */
    bool sender_fifo; /* SCHED_FIFO for the sender and ack threads and the receiver */
    bool self_send; /* vCPU thread 0 sends; no sender thread */
    bool low_latency; /* idle processors poll: waking a thread there needs no interrupt */
};

/* ---- machine.c: the virtual machine ---- */

struct slot {
    uint64_t first_gfn;
    uint64_t pages;
    uint8_t *host;
};

struct vcpu {
    int fd;
    struct kvm_run *run;
    struct kvm_dirty_gfn *ring;
    uint32_t ring_next;
};

struct machine {
    int kvm;
    int vm;
    uint8_t *memory;
    uint64_t memory_bytes;
    struct slot slots[2];
    unsigned slot_count;
    struct vcpu vcpus[VCPUS_MAX];
    unsigned vcpu_count;
    size_t run_bytes;
    size_t xsave_bytes;
    struct kvm_msrs *msr_template; /* indices that can be read, in the layout KVM_GET_MSRS wants */
    size_t msrs_bytes;
    bool irqchip;
};

/* Creates the machine with the image loaded and its vCPUs at the entry. Ends the program with a message on failure. */
void machine_create(struct machine *machine, const struct options *options);
uint64_t machine_rounds(const struct machine *machine);

/* ---- state.c: what a checkpoint holds beside memory ---- */

size_t state_bytes(const struct machine *machine);
size_t vcpu_state_bytes(const struct machine *machine);
/* Captures one vCPU into `out` (vcpu_state_bytes). The vCPU is stopped and its kvm_run holds the synced registers. */
void capture_vcpu(const struct machine *machine, const struct vcpu *vcpu, uint8_t *out);
/* Captures what belongs to the whole machine, behind all vCPUs' state. */
void capture_vm(const struct machine *machine, uint8_t *out);

/* ---- track.c: dirty pages ---- */

struct harvest {
    uint64_t *gfns;
    const uint8_t **sources; /* host address of each page */
    uint32_t count;
};

struct tracker_state {
    enum tracker kind;
    uint64_t *bitmaps[2];
    uint64_t first_word[2];
    uint64_t last_word[2]; /* last < first: nothing dirty */
};

void tracker_create(struct tracker_state *tracker, const struct machine *machine, enum tracker kind);
/* Lists the dirty pages; all vCPUs are stopped. */
void tracker_harvest(struct tracker_state *tracker, struct machine *machine, struct harvest *harvest);
/* Makes the harvested pages be noticed again. */
void tracker_rearm(struct tracker_state *tracker, struct machine *machine);

/* ---- ship.c: sealed epochs to the other process and back ---- */

struct arena {
    uint8_t header[HEADER_BYTES];
    uint8_t *state;
    uint64_t *list;
    uint8_t *pages;
    uint32_t page_count;
};

/* A count that threads wait for; the wake-up system call is made only when somebody waits. */
struct turnstile {
    _Atomic uint32_t count;
    _Atomic uint32_t waiters;
};

struct shipping {
    struct arena arenas[ARENAS];
    size_t state_bytes;
    struct turnstile sealed;
    struct turnstile acked;
    _Atomic bool stopping;
    int socket;
    bool self_send;
    bool fifo;
    pid_t receiver;
    pthread_t sender;
    pthread_t acknowledger;
};

/* Forks the receiver: before any thread exists. */
void shipping_connect(struct shipping *shipping, size_t state_bytes, bool fifo);
void shipping_start(struct shipping *shipping, bool self_send, bool fifo);
/* Waits for a free arena; *stalled_ns is how long. NULL when stopping. */
struct arena *shipping_acquire(struct shipping *shipping, uint64_t *stalled_ns);
/* Hands the arena last acquired to the sender. */
void shipping_seal(struct shipping *shipping);
void shipping_stop(struct shipping *shipping);

/* ---- cycle.c: vCPU threads ---- */

struct sample {
    uint32_t pause_ns;
    uint32_t state_ns;
    uint32_t harvest_ns;
    uint32_t copy_ns;
    uint32_t rearm_ns;
    uint32_t wake_ns; /* handing over to the sender */
    uint32_t pages;
};

struct cycle {
    const struct options *options;
    struct machine *machine;
    struct tracker_state *tracker;
    struct shipping *shipping;
    struct sample *samples;
    uint32_t samples_max;
    _Atomic uint32_t sample_count;
    _Atomic uint64_t stalls;
    _Atomic bool stopping;           /* vCPU 0, and all when unprotected */
    _Atomic bool followers_stopping; /* the others, once vCPU 0 has ended */
    _Atomic uint32_t stop_round; /* changes when vCPU 0 wants the others to stop */
    struct turnstile arrived;
    struct turnstile released;
    struct arena *arena;
    pthread_t threads[VCPUS_MAX];
    _Atomic int tids[VCPUS_MAX];
};

void cycle_start(struct cycle *cycle);
void cycle_stop(struct cycle *cycle);

/* ---- sys.c: system calls, checked ---- */

_Noreturn void die(const char *what);
uint64_t now_ns(void);
int checked_ioctl(int fd, unsigned long request, void *arg, const char *what);
void *map_shared(size_t bytes, int fd, size_t offset, int flags, const char *what);
void *allocate(size_t bytes, const char *what);
void turnstile_wait_past(struct turnstile *turnstile, uint32_t seen);
void turnstile_advance(struct turnstile *turnstile);
void pin_to(unsigned processor);
void use_fifo(int priority);
/* Until the program ends, idle processors poll instead of halting (power management quality of service). */
void forbid_halting(void);

#endif
