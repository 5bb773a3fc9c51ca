#include "virtio.h"

#include "boot.h"

enum register_offset {
    REG_MAGIC = 0x000,
    REG_VERSION = 0x004,
    REG_DEVICE_ID = 0x008,
    REG_DEVICE_FEATURES = 0x010,
    REG_DEVICE_FEATURES_SEL = 0x014,
    REG_DRIVER_FEATURES = 0x020,
    REG_DRIVER_FEATURES_SEL = 0x024,
    REG_QUEUE_SEL = 0x030,
    REG_QUEUE_NUM_MAX = 0x034,
    REG_QUEUE_NUM = 0x038,
    REG_QUEUE_READY = 0x044,
    REG_QUEUE_NOTIFY = 0x050,
    REG_STATUS = 0x070,
    REG_QUEUE_DESC = 0x080,
    REG_QUEUE_DRIVER = 0x090,
    REG_QUEUE_DEVICE = 0x0a0,
    REG_CONFIG = 0x100,
};

enum { STATUS_ACKNOWLEDGE = 1, STATUS_DRIVER = 2, STATUS_DRIVER_OK = 4, STATUS_FEATURES_OK = 8, STATUS_FAILED = 128 };

#define VIRTIO_MAGIC 0x74726976 /* "virt" */
#define VIRTIO_VERSION 2
#define FEATURE_VERSION_1_WORD 1 /* bit 32: bit 0 of the second word */
#define FEATURE_VERSION_1 1u
#define USED_NO_NOTIFY 1

static uint32_t read_register(uint64_t base, enum register_offset offset)
{
    return mmio_read32(base + offset);
}

static void write_register(uint64_t base, enum register_offset offset, uint32_t value)
{
    mmio_write32(base + offset, value);
}

static void write_register64(uint64_t base, enum register_offset low, uint64_t value)
{
    write_register(base, low, (uint32_t)value);
    mmio_write32(base + low + 4, (uint32_t)(value >> 32));
}

void virtio_offer(struct queue *queue, uint16_t descriptor)
{
    queue->available.ring[queue->available_index % QUEUE_ENTRIES] = descriptor;
    queue->available_index++;
}

void virtio_publish(struct queue *queue)
{
    compiler_barrier(); /* x86 keeps stores in order: ring entries are visible before the index */
    queue->available.index = queue->available_index;
    __atomic_thread_fence(__ATOMIC_SEQ_CST); /* the index must be visible before the flag is read */
    if (!(queue->used.flags & USED_NO_NOTIFY))
        write_register(queue->base, REG_QUEUE_NOTIFY, queue->number);
}

int virtio_take(struct queue *queue, uint32_t *length)
{
    if (queue->used.index == queue->used_index)
        return -1;
    compiler_barrier(); /* x86 keeps loads in order: the element is read after the index */
    volatile struct used_element *element = &queue->used.ring[queue->used_index % QUEUE_ENTRIES];
    queue->used_index++;
    *length = element->length;
    return (int)(element->id % QUEUE_ENTRIES);
}

uint32_t virtio_config(uint64_t base, uint32_t offset)
{
    return mmio_read32(base + REG_CONFIG + offset);
}

static int set_up_queue(uint64_t base, struct queue *queue, uint16_t number)
{
    queue->base = base;
    queue->number = number;
    write_register(base, REG_QUEUE_SEL, number);
    if (read_register(base, REG_QUEUE_READY) != 0 || read_register(base, REG_QUEUE_NUM_MAX) < QUEUE_ENTRIES)
        return -1;
    write_register(base, REG_QUEUE_NUM, QUEUE_ENTRIES);
    write_register64(base, REG_QUEUE_DESC, (uint64_t)queue->descriptors);
    write_register64(base, REG_QUEUE_DRIVER, (uint64_t)&queue->available);
    write_register64(base, REG_QUEUE_DEVICE, (uint64_t)&queue->used);
    write_register(base, REG_QUEUE_READY, 1);
    return 0;
}

static int negotiate(uint64_t base)
{
    write_register(base, REG_STATUS, 0);
    write_register(base, REG_STATUS, STATUS_ACKNOWLEDGE);
    write_register(base, REG_STATUS, STATUS_ACKNOWLEDGE | STATUS_DRIVER);
    write_register(base, REG_DEVICE_FEATURES_SEL, FEATURE_VERSION_1_WORD);
    if (!(read_register(base, REG_DEVICE_FEATURES) & FEATURE_VERSION_1))
        return -1;
    write_register(base, REG_DRIVER_FEATURES_SEL, 0);
    write_register(base, REG_DRIVER_FEATURES, 0);
    write_register(base, REG_DRIVER_FEATURES_SEL, FEATURE_VERSION_1_WORD);
    write_register(base, REG_DRIVER_FEATURES, FEATURE_VERSION_1);
    write_register(base, REG_STATUS, STATUS_ACKNOWLEDGE | STATUS_DRIVER | STATUS_FEATURES_OK);
    return read_register(base, REG_STATUS) & STATUS_FEATURES_OK ? 0 : -1;
}

static int set_up(uint64_t base, struct queue *const queues[], uint16_t count)
{
    if (negotiate(base) != 0)
        return -1;
    for (uint16_t i = 0; i < count; i++)
        if (set_up_queue(base, queues[i], i) != 0)
            return -1;
    return 0;
}

int virtio_open(uint64_t base, uint32_t device_id, struct queue *const queues[], uint16_t count)
{
    if (read_register(base, REG_MAGIC) != VIRTIO_MAGIC || read_register(base, REG_VERSION) != VIRTIO_VERSION ||
        read_register(base, REG_DEVICE_ID) != device_id)
        return -1;
    if (set_up(base, queues, count) != 0) {
        write_register(base, REG_STATUS, read_register(base, REG_STATUS) | STATUS_FAILED);
        return -1;
    }
    write_register(base, REG_STATUS, STATUS_ACKNOWLEDGE | STATUS_DRIVER | STATUS_FEATURES_OK | STATUS_DRIVER_OK);
    return 0;
}
