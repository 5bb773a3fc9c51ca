#include "net.h"

#include "boot.h"
#include "virtio.h"

#define NET_BASE 0xd0001000ULL
#define DEVICE_ID_NET 1
#define HEADER_BYTES 12u /* all zeroes: no offloads */
#define BUFFER_BYTES (HEADER_BYTES + FRAME_BYTES_MAX)
#define RETURN_BATCH (QUEUE_ENTRIES / 4)

static struct queue receive_queue;
static struct queue transmit_queue;
static uint8_t receive_buffers[QUEUE_ENTRIES][BUFFER_BYTES];
static uint8_t transmit_buffers[QUEUE_ENTRIES][BUFFER_BYTES];

int net_open(uint8_t mac[MAC_BYTES])
{
    struct queue *const queues[] = {&receive_queue, &transmit_queue};

    for (uint16_t i = 0; i < QUEUE_ENTRIES; i++) {
        receive_queue.descriptors[i].address = (uint64_t)receive_buffers[i];
        receive_queue.descriptors[i].length = BUFFER_BYTES;
        receive_queue.descriptors[i].flags = DESC_DEVICE_WRITES;
        transmit_queue.descriptors[i].address = (uint64_t)transmit_buffers[i];
    }
    if (virtio_open(NET_BASE, DEVICE_ID_NET, queues, 2) != 0)
        return -1;
    for (uint32_t i = 0; i < MAC_BYTES; i++)
        mac[i] = (uint8_t)(virtio_config(NET_BASE, i & ~3u) >> 8 * (i & 3));
    for (uint16_t i = 0; i < QUEUE_ENTRIES; i++)
        virtio_offer(&receive_queue, i);
    virtio_publish(&receive_queue);
    return 0;
}

uint32_t net_read(uint8_t **frame)
{
    static int held = -1; /* the frame that the caller still reads; none at first */
    struct queue *queue = &receive_queue;
    uint32_t length;

    if (held >= 0) {
        virtio_offer(queue, (uint16_t)held);
        if ((uint16_t)(queue->available_index - queue->available.index) >= RETURN_BATCH)
            virtio_publish(queue);
    }
    held = virtio_take(queue, &length);
    if (held < 0 || length < HEADER_BYTES || length > BUFFER_BYTES)
        return 0;
    *frame = receive_buffers[held] + HEADER_BYTES;
    return length - HEADER_BYTES;
}

void net_write(const uint8_t *frame, uint32_t length)
{
    struct queue *queue = &transmit_queue;
    uint16_t buffer = queue->available_index % QUEUE_ENTRIES;

    if (length > FRAME_BYTES_MAX)
        return;
    /* Offered round robin, and given back in order: the next one is free when not all are in use. */
    if ((uint16_t)(queue->available_index - queue->used.index) >= QUEUE_ENTRIES) {
        virtio_publish(queue);
        while ((uint16_t)(queue->available_index - queue->used.index) >= QUEUE_ENTRIES)
            cpu_pause();
    }
    for (uint32_t i = 0; i < length; i++)
        transmit_buffers[buffer][HEADER_BYTES + i] = frame[i];
    queue->descriptors[buffer].length = HEADER_BYTES + length;
    virtio_offer(queue, buffer);
}

void net_flush(void)
{
    if (transmit_queue.available_index != transmit_queue.available.index)
        virtio_publish(&transmit_queue);
}
