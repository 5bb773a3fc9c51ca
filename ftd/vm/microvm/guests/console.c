#include "console.h"

#include "boot.h"
#include "virtio.h"

#define CONSOLE_BASE 0xd0000000ULL
#define DEVICE_ID_CONSOLE 3
#define RECEIVE_BYTES 1024u
#define TRANSMIT_BYTES 2048u
#define RETURN_BATCH (QUEUE_ENTRIES / 2)

static struct queue receive_queue;
static struct queue transmit_queue;
static char receive_buffers[QUEUE_ENTRIES][RECEIVE_BYTES];
static char transmit_buffers[QUEUE_ENTRIES][TRANSMIT_BYTES];
static uint32_t transmit_fill; /* bytes in the buffer that is being filled */

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
    struct queue *const queues[] = {&receive_queue, &transmit_queue};

    describe_buffers();
    if (virtio_open(CONSOLE_BASE, DEVICE_ID_CONSOLE, queues, 2) != 0)
        return -1;
    for (uint16_t i = 0; i < QUEUE_ENTRIES; i++)
        virtio_offer(&receive_queue, i);
    virtio_publish(&receive_queue);
    return 0;
}

uint32_t console_read(const char **bytes)
{
    static int held = -1; /* the chunk that the caller still reads; none at first */
    struct queue *queue = &receive_queue;
    uint32_t length;

    if (held >= 0) {
        virtio_offer(queue, (uint16_t)held);
        if ((uint16_t)(queue->available_index - queue->available.index) >= RETURN_BATCH)
            virtio_publish(queue);
    }
    held = virtio_take(queue, &length);
    if (held < 0)
        return 0;
    *bytes = receive_buffers[held];
    return length < RECEIVE_BYTES ? length : RECEIVE_BYTES;
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
    virtio_offer(&transmit_queue, buffer);
    transmit_fill = 0;
}

void console_write(const char *bytes, uint32_t length)
{
    for (uint32_t i = 0; i < length; i++) {
        if (transmit_fill == TRANSMIT_BYTES) {
            offer_filled();
            virtio_publish(&transmit_queue);
        }
        transmit_buffers[wait_for_transmit_buffer()][transmit_fill++] = bytes[i];
    }
}

void console_flush(void)
{
    if (transmit_fill == 0)
        return;
    offer_filled();
    virtio_publish(&transmit_queue);
}
