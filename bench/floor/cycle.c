#define _GNU_SOURCE
#include <errno.h>
#include <linux/futex.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sched.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "floor.h"

#define KICK_SIGNAL SIGUSR1
#define FIFO_PRIORITY 10
#define BREATH_NS 20000 /* the least the guest runs between two checkpoints */
#define LAG_NS_MAX 100000000 /* ticks missed for longer than this are not made up for */

struct vcpu_thread {
    struct cycle *cycle;
    unsigned index;
};

/* The signal handler's only work: KVM_RUN returns, at once if it has not been entered yet. */
static _Thread_local struct kvm_run *kicked_run;

static void kick(int signum)
{
    (void)signum;
    kicked_run->immediate_exit = 1;
}

/* Enters the guest until it is kicked or its ring is full. */
static void run_guest(struct vcpu *vcpu)
{
    if (ioctl(vcpu->fd, KVM_RUN, NULL) == 0) {
        if (vcpu->run->exit_reason != KVM_EXIT_DIRTY_RING_FULL) {
            fprintf(stderr, "floor: guest left with reason %u\n", vcpu->run->exit_reason);
            exit(1);
        }
    } else if (errno != EINTR) {
        die("KVM_RUN");
    }
    vcpu->run->immediate_exit = 0;
}

static timer_t create_timer(void)
{
    timer_t timer;
    struct sigevent event = {.sigev_notify = SIGEV_THREAD_ID, .sigev_signo = KICK_SIGNAL};
    event._sigev_un._tid = gettid();
    if (timer_create(CLOCK_MONOTONIC, &event, &timer) != 0)
        die("timer_create");
    return timer;
}

static void arm_timer(timer_t timer, uint64_t when_ns)
{
    struct itimerspec spec = {.it_value = {.tv_sec = (time_t)(when_ns / 1000000000),
                                           .tv_nsec = (long)(when_ns % 1000000000)}};
    if (timer_settime(timer, TIMER_ABSTIME, &spec, NULL) != 0)
        die("timer_settime");
}

static void stop_others(struct cycle *cycle)
{
    atomic_fetch_add(&cycle->stop_round, 1);
    for (unsigned i = 1; i < cycle->machine->vcpu_count; i++)
        if (syscall(SYS_tgkill, getpid(), atomic_load(&cycle->tids[i]), KICK_SIGNAL) != 0)
            die("tgkill");
}

static void wait_for_others(struct cycle *cycle, uint32_t arrived_before)
{
    uint32_t others = cycle->machine->vcpu_count - 1;
    for (;;) {
        uint32_t arrived = atomic_load(&cycle->arrived.count);
        if (arrived - arrived_before == others)
            return;
        turnstile_wait_past(&cycle->arrived, arrived);
    }
}

static void copy_pages(struct arena *arena, const struct harvest *harvest)
{
    for (uint32_t i = 0; i < harvest->count; i++)
        memcpy(arena->pages + i * PAGE_BYTES, harvest->sources[i], PAGE_BYTES);
    arena->page_count = harvest->count;
}

static void record(struct cycle *cycle, const struct sample *sample)
{
    uint32_t count = atomic_load(&cycle->sample_count);
    if (count < cycle->samples_max) {
        cycle->samples[count] = *sample;
        atomic_store(&cycle->sample_count, count + 1);
    }
}

/* One checkpoint, on vCPU thread 0, from the moment its guest has left. */
static void checkpoint(struct cycle *cycle, const uint8_t **sources)
{
    struct machine *machine = cycle->machine;
    uint64_t start = now_ns(), stalled_ns;
    uint32_t arrived_before = atomic_load(&cycle->arrived.count);
    struct arena *arena = shipping_acquire(cycle->shipping, &stalled_ns);
    struct harvest harvest = {.gfns = arena->list, .sources = sources};

    if (stalled_ns != 0)
        atomic_fetch_add(&cycle->stalls, 1);
    cycle->arena = arena;
    stop_others(cycle);
    uint64_t stopping = now_ns();
    capture_vcpu(machine, &machine->vcpus[0], arena->state);
    wait_for_others(cycle, arrived_before);
    capture_vm(machine, arena->state + machine->vcpu_count * vcpu_state_bytes(machine));
    uint64_t captured = now_ns();
    tracker_harvest(cycle->tracker, machine, &harvest);
    uint64_t harvested = now_ns();
    copy_pages(arena, &harvest);
    uint64_t copied = now_ns();
    tracker_rearm(cycle->tracker, machine);
    uint64_t rearmed = now_ns();
    shipping_seal(cycle->shipping);
    uint64_t woken = now_ns();
    turnstile_advance(&cycle->released);
    struct sample sample = {
        .pause_ns = (uint32_t)(now_ns() - start - stalled_ns),
        .state_ns = (uint32_t)(captured - stopping),
        .harvest_ns = (uint32_t)(harvested - captured),
        .copy_ns = (uint32_t)(copied - harvested),
        .rearm_ns = (uint32_t)(rearmed - copied),
        .wake_ns = (uint32_t)(woken - rearmed),
        .pages = harvest.count,
    };
    record(cycle, &sample);
}

static void lead(struct cycle *cycle)
{
    struct vcpu *vcpu = &cycle->machine->vcpus[0];
    uint64_t period = 1000000000 / cycle->options->rate;
    const uint8_t **sources = allocate(ARENA_PAGES * sizeof(*sources), "harvest");
    timer_t timer = create_timer();
    uint64_t due = now_ns() + period;

    arm_timer(timer, due);
    while (!atomic_load(&cycle->stopping)) {
        run_guest(vcpu);
        checkpoint(cycle, sources);
        /* A tick that was missed is made up for, but the guest gets to run in between. */
        uint64_t now = now_ns();
        due = due + period > now - LAG_NS_MAX ? due + period : now - LAG_NS_MAX;
        arm_timer(timer, due > now + BREATH_NS ? due : now + BREATH_NS);
    }
    timer_delete(timer);
}

static void follow(struct cycle *cycle, unsigned index)
{
    struct machine *machine = cycle->machine;
    uint32_t stopped_round = 0;

    while (!atomic_load(&cycle->followers_stopping)) {
        run_guest(&machine->vcpus[index]);
        uint32_t round = atomic_load(&cycle->stop_round);
        if (round == stopped_round)
            continue; /* its ring was full: vCPU 0 comes soon */
        stopped_round = round;
        uint32_t released = atomic_load(&cycle->released.count);
        capture_vcpu(machine, &machine->vcpus[index], cycle->arena->state + index * vcpu_state_bytes(machine));
        turnstile_advance(&cycle->arrived);
        turnstile_wait_past(&cycle->released, released);
    }
}

static void run_unprotected(struct cycle *cycle, unsigned index)
{
    while (!atomic_load(&cycle->stopping))
        run_guest(&cycle->machine->vcpus[index]);
}

static void *run_vcpu(void *context)
{
    struct vcpu_thread *self = context;
    struct cycle *cycle = self->cycle;
    unsigned index = self->index;

    free(self);
    kicked_run = cycle->machine->vcpus[index].run;
    if (cycle->options->pin)
        pin_to(index % (unsigned)sysconf(_SC_NPROCESSORS_ONLN));
    if (cycle->options->fifo)
        use_fifo(FIFO_PRIORITY);
    atomic_store(&cycle->tids[index], gettid());
    if (cycle->options->unprotected)
        run_unprotected(cycle, index);
    else if (index == 0)
        lead(cycle);
    else
        follow(cycle, index);
    return NULL;
}

void cycle_start(struct cycle *cycle)
{
    struct sigaction action = {.sa_handler = kick};
    if (sigaction(KICK_SIGNAL, &action, NULL) != 0)
        die("sigaction");
    for (unsigned i = cycle->machine->vcpu_count; i-- > 0;) { /* vCPU 0 last: it signals the others */
        struct vcpu_thread *thread = malloc(sizeof(*thread));
        if (thread == NULL)
            die("memory for a thread");
        *thread = (struct vcpu_thread){.cycle = cycle, .index = i};
        if ((errno = pthread_create(&cycle->threads[i], NULL, run_vcpu, thread)) != 0)
            die("vCPU thread");
        while (atomic_load(&cycle->tids[i]) == 0)
            sched_yield();
    }
}

void cycle_stop(struct cycle *cycle)
{
    atomic_store(&cycle->stopping, true);
    for (unsigned i = 0; i < cycle->machine->vcpu_count; i++) { /* vCPU 0 first: it waits for the others */
        if (i == 1)
            atomic_store(&cycle->followers_stopping, true);
        pthread_kill(cycle->threads[i], KICK_SIGNAL);
        pthread_join(cycle->threads[i], NULL);
    }
}
