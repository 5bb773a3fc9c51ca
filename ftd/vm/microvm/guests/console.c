#include "console.h"

#include "boot.h"

#define CONSOLE_BASE 0xd0000000ULL

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
};

enum { STATUS_ACKNOWLEDGE = 1, STATUS_DRIVER = 2, STATUS_DRIVER_OK = 4, STATUS_FEATURES_OK = 8, STATUS_FAILED = 128 };
enum { QUEUE_RECEIVE = 0, QUEUE_TRANSMIT = 1 };

#define VIRTIO_MAGIC 0x74726976 /* "virt" */
#define VIRTIO_VERSION 2
#define DEVICE_ID_CONSOLE 3
#define FEATURE_VERSION_1_WORD 1 /* bit 32: bit 0 of the second word */
#define FEATURE_VERSION_1 1u
#define DESC_DEVICE_WRITES 2
#define USED_NO_NOTIFY 1

#define QUEUE_ENTRIES 16u
#define RECEIVE_BYTES 1024u
#define TRANSMIT_BYTES 2048u
#define RETURN_BATCH (QUEUE_ENTRIES / 2)

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

/* One split queue. `available_index` runs ahead of the shared index until publish(). */
struct queue {
    _Alignas(16) volatile struct descriptor descriptors[QUEUE_ENTRIES];
    _Alignas(4) volatile struct available_ring available;
    _Alignas(4) volatile struct used_ring used;
    uint16_t number;
    uint16_t available_index;
    uint16_t used_index;
};

static struct queue receive_queue = {.number = QUEUE_RECEIVE};
static struct queue transmit_queue = {.number = QUEUE_TRANSMIT};
static char receive_buffers[QUEUE_ENTRIES][RECEIVE_BYTES];
static char transmit_buffers[QUEUE_ENTRIES][TRANSMIT_BYTES];
static uint32_t transmit_fill; /* bytes in the buffer that is being filled */

static uint32_t read_register(enum register_offset offset)
{
    return mmio_read32(CONSOLE_BASE + offset);
}

static void write_register(enum register_offset offset, uint32_t value)
{
    mmio_write32(CONSOLE_BASE + offset, value);
}

static void write_register64(enum register_offset low, uint64_t value)
{
    write_register(low, (uint32_t)value);
    mmio_write32(CONSOLE_BASE + low + 4, (uint32_t)(value >> 32));
}

static void offer(struct queue *queue, uint16_t descriptor)
{
    queue->available.ring[queue->available_index % QUEUE_ENTRIES] = descriptor;
    queue->available_index++;
}

/* Makes what was offered visible, then notifies, unless the device says that it looks by itself. */
static void publish(struct queue *queue)
{
    compiler_barrier(); /* x86 keeps stores in order: ring entries are visible before the index */
    queue->available.index = queue->available_index;
    __atomic_thread_fence(__ATOMIC_SEQ_CST); /* the index must be visible before the flag is read */
    if (!(queue->used.flags & USED_NO_NOTIFY))
        write_register(REG_QUEUE_NOTIFY, queue->number);
}

static int set_up_queue(struct queue *queue)
{
    write_register(REG_QUEUE_SEL, queue->number);
    if (read_register(REG_QUEUE_READY) != 0 || read_register(REG_QUEUE_NUM_MAX) < QUEUE_ENTRIES)
        return -1;
    write_register(REG_QUEUE_NUM, QUEUE_ENTRIES);
    write_register64(REG_QUEUE_DESC, (uint64_t)queue->descriptors);
    write_register64(REG_QUEUE_DRIVER, (uint64_t)&queue->available);
    write_register64(REG_QUEUE_DEVICE, (uint64_t)&queue->used);
    write_register(REG_QUEUE_READY, 1);
    return 0;
}

static int negotiate(void)
{
    write_register(REG_STATUS, 0);
    write_register(REG_STATUS, STATUS_ACKNOWLEDGE);
    write_register(REG_STATUS, STATUS_ACKNOWLEDGE | STATUS_DRIVER);
    write_register(REG_DEVICE_FEATURES_SEL, FEATURE_VERSION_1_WORD);
    if (!(read_register(REG_DEVICE_FEATURES) & FEATURE_VERSION_1))
        return -1;
    write_register(REG_DRIVER_FEATURES_SEL, 0);
    write_register(REG_DRIVER_FEATURES, 0);
    write_register(REG_DRIVER_FEATURES_SEL, FEATURE_VERSION_1_WORD);
    write_register(REG_DRIVER_FEATURES, FEATURE_VERSION_1);
    write_register(REG_STATUS, STATUS_ACKNOWLEDGE | STATUS_DRIVER | STATUS_FEATURES_OK);
    return read_register(REG_STATUS) & STATUS_FEATURES_OK ? 0 : -1;
}

static void describe_buffers(void)
{
    for (uint16_t i = 0; i < QUEUE_ENTRIES; i++) {
        receive_queue.descriptors[i].address = (uint64_t)receive_buffers[i];
        receive_queue.descriptors[i].length = RECEIVE_BYTES;
        receive_queue.descriptors[i].flags = DESC_DEVICE_WRITES;
        transmit_queue.descriptors[i].address = (uint64_t)transmit_buffers[i];
    }
}

int console_open(void)
{
    if (read_register(REG_MAGIC) != VIRTIO_MAGIC || read_register(REG_VERSION) != VIRTIO_VERSION ||
        read_register(REG_DEVICE_ID) != DEVICE_ID_CONSOLE)
        return -1;
    describe_buffers();
    if (negotiate() != 0 || set_up_queue(&receive_queue) != 0 || set_up_queue(&transmit_queue) != 0) {
        write_register(REG_STATUS, read_register(REG_STATUS) | STATUS_FAILED);
        return -1;
    }
    write_register(REG_STATUS, STATUS_ACKNOWLEDGE | STATUS_DRIVER | STATUS_FEATURES_OK | STATUS_DRIVER_OK);
    for (uint16_t i = 0; i < QUEUE_ENTRIES; i++)
        offer(&receive_queue, i);
    publish(&receive_queue);
    return 0;
}

uint32_t console_read(const char **bytes)
{
    static uint32_t held = QUEUE_ENTRIES; /* the chunk that the caller still reads; none at first */
    struct queue *queue = &receive_queue;

    if (held != QUEUE_ENTRIES) {
        offer(queue, (uint16_t)held);
        held = QUEUE_ENTRIES;
        if ((uint16_t)(queue->available_index - queue->available.index) >= RETURN_BATCH)
            publish(queue);
    }
    if (queue->used.index == queue->used_index)
        return 0;
    compiler_barrier(); /* x86 keeps loads in order: the element is read after the index */
    volatile struct used_element *element = &queue->used.ring[queue->used_index % QUEUE_ENTRIES];
    uint32_t length = element->length < RECEIVE_BYTES ? element->length : RECEIVE_BYTES;
    held = element->id % QUEUE_ENTRIES;
    *bytes = receive_buffers[held];
    queue->used_index++;
    return length;
}

/* Buffers are offered round robin, and a console writes in order: the next one is free when not all are in use. */
static uint16_t wait_for_transmit_buffer(void)
{
    while ((uint16_t)(transmit_queue.available_index - transmit_queue.used.index) >= QUEUE_ENTRIES)
        cpu_pause();
    return transmit_queue.available_index % QUEUE_ENTRIES;
}

static void offer_filled(void)
{
    uint16_t buffer = wait_for_transmit_buffer();
    transmit_queue.descriptors[buffer].length = transmit_fill;
    offer(&transmit_queue, buffer);
    transmit_fill = 0;
}

void console_write(const char *bytes, uint32_t length)
{
    for (uint32_t i = 0; i < length; i++) {
        if (transmit_fill == TRANSMIT_BYTES) {
            offer_filled();
            publish(&transmit_queue);
        }
        transmit_buffers[wait_for_transmit_buffer()][transmit_fill++] = bytes[i];
    }
}

void console_flush(void)
{
    if (transmit_fill == 0)
        return;
    offer_filled();
    publish(&transmit_queue);
}
