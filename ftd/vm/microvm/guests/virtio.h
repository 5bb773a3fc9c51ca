/*
 * What drivers of virtio-mmio devices share (virtio 1.2, sections 2.7 and 4.2): polled, no interrupts.
 *
 * Every register access leaves the guest and costs tens of microseconds, so the data path makes as few as the
 * specification allows: used rings are polled in memory, and what is offered is published when the driver
 * says so.
 */
#ifndef FTD_GUEST_VIRTIO_H
#define FTD_GUEST_VIRTIO_H

#include <stdint.h>

#define QUEUE_ENTRIES 16u
#define DESC_DEVICE_WRITES 2

struct descriptor {
    uint64_t address;
    uint32_t length;
    uint16_t flags;
    uint16_t next;
};

struct available_ring {
    uint16_t flags;
    uint16_t index;
    uint16_t ring[QUEUE_ENTRIES];
    uint16_t used_event;
};

struct used_element {
    uint32_t id;
    uint32_t length;
};

struct used_ring {
    uint16_t flags;
    uint16_t index;
    struct used_element ring[QUEUE_ENTRIES];
    uint16_t available_event;
};

/* One split queue of a device whose registers are at `base`. `available_index` runs ahead until publish(). */
struct queue {
    _Alignas(16) volatile struct descriptor descriptors[QUEUE_ENTRIES];
    _Alignas(4) volatile struct available_ring available;
    _Alignas(4) volatile struct used_ring used;
    uint64_t base;
    uint16_t number;
    uint16_t available_index;
    uint16_t used_index;
};

/*
 * Finds the device of this kind at `base` and sets its `count` queues up. The descriptors are the driver's.
 * 0, or -1 when there is no such device or it refuses the handshake.
 */
int virtio_open(uint64_t base, uint32_t device_id, struct queue *const queues[], uint16_t count);

/* 32 bits of the device's configuration space. */
uint32_t virtio_config(uint64_t base, uint32_t offset);

/* Puts a descriptor into the available ring, unseen by the device yet. */
void virtio_offer(struct queue *queue, uint16_t descriptor);

/* Makes what was offered visible, then notifies, unless the device says that it looks by itself. */
void virtio_publish(struct queue *queue);

/* The next descriptor that the device has given back, with the bytes that it wrote; -1 when there is none. */
int virtio_take(struct queue *queue, uint32_t *length);

#endif
