#include <errno.h>
#include <string.h>

#include "floor.h"

void tracker_create(struct tracker_state *tracker, const struct machine *machine, enum tracker kind)
{
    tracker->kind = kind;
    if (kind == TRACKER_BITMAP)
        for (unsigned i = 0; i < machine->slot_count; i++)
            tracker->bitmaps[i] = allocate((machine->slots[i].pages + 63) / 64 * 8, "dirty bitmap");
}

static void take(struct harvest *harvest, const struct slot *slot, uint64_t page)
{
    if (harvest->count == ARENA_PAGES) {
        errno = EOVERFLOW;
        die("more dirty pages than an arena holds");
    }
    harvest->gfns[harvest->count] = slot->first_gfn + page;
    harvest->sources[harvest->count] = slot->host + page * PAGE_BYTES;
    harvest->count++;
}

static void harvest_ring(struct machine *machine, struct vcpu *vcpu, struct harvest *harvest)
{
    for (;;) {
        struct kvm_dirty_gfn *entry = &vcpu->ring[vcpu->ring_next % RING_ENTRIES];
        if (!(__atomic_load_n(&entry->flags, __ATOMIC_ACQUIRE) & KVM_DIRTY_GFN_F_DIRTY))
            return;
        take(harvest, &machine->slots[entry->slot & 0xffff], entry->offset);
        __atomic_store_n(&entry->flags, KVM_DIRTY_GFN_F_RESET, __ATOMIC_RELEASE);
        vcpu->ring_next++;
    }
}

static void harvest_bitmap(struct tracker_state *tracker, const struct machine *machine, unsigned index,
                           struct harvest *harvest)
{
    uint64_t *words = tracker->bitmaps[index];
    uint64_t word_count = (machine->slots[index].pages + 63) / 64;
    struct kvm_dirty_log log = {.slot = index, .dirty_bitmap = words};

    checked_ioctl(machine->vm, KVM_GET_DIRTY_LOG, &log, "KVM_GET_DIRTY_LOG");
    tracker->first_word[index] = word_count;
    tracker->last_word[index] = 0;
    for (uint64_t i = 0; i < word_count; i++) {
        if (words[i] == 0)
            continue;
        if (tracker->first_word[index] == word_count)
            tracker->first_word[index] = i;
        tracker->last_word[index] = i;
        for (uint64_t bits = words[i]; bits != 0; bits &= bits - 1)
            take(harvest, &machine->slots[index], i * 64 + (unsigned)__builtin_ctzll(bits));
    }
}

void tracker_harvest(struct tracker_state *tracker, struct machine *machine, struct harvest *harvest)
{
    harvest->count = 0;
    if (tracker->kind == TRACKER_RING)
        for (unsigned i = 0; i < machine->vcpu_count; i++)
            harvest_ring(machine, &machine->vcpus[i], harvest);
    else
        for (unsigned i = 0; i < machine->slot_count; i++)
            harvest_bitmap(tracker, machine, i, harvest);
}

static void clear_bitmap(const struct tracker_state *tracker, const struct machine *machine, unsigned index)
{
    uint64_t first = tracker->first_word[index];
    uint64_t end = tracker->last_word[index] + 1;

    if (first >= end)
        return;
    uint64_t pages = (end - first) * 64;
    uint64_t room = machine->slots[index].pages - first * 64;
    struct kvm_clear_dirty_log clear = {
        .slot = index,
        .num_pages = (uint32_t)(pages < room ? pages : room),
        .first_page = first * 64,
        .dirty_bitmap = tracker->bitmaps[index] + first,
    };
    checked_ioctl(machine->vm, KVM_CLEAR_DIRTY_LOG, &clear, "KVM_CLEAR_DIRTY_LOG");
}

void tracker_rearm(struct tracker_state *tracker, struct machine *machine)
{
    if (tracker->kind == TRACKER_RING)
        checked_ioctl(machine->vm, KVM_RESET_DIRTY_RINGS, NULL, "KVM_RESET_DIRTY_RINGS");
    else
        for (unsigned i = 0; i < machine->slot_count; i++)
            clear_bitmap(tracker, machine, i);
}
