/*
 * Driver of the virtio-mmio disk (virtio 1.2, sections 4.2 and 5.2), polled, without interrupts: several
 * requests at a time, one in each slot.
 */
#ifndef FTD_GUEST_DISK_H
#define FTD_GUEST_DISK_H

#include <stdint.h>

#define DISK_SLOTS 8u
#define DISK_SECTOR_BYTES 512ULL

enum disk_request { DISK_READ = 0, DISK_WRITE = 1, DISK_FLUSH = 4, DISK_DISCARD = 11, DISK_ZEROES = 13 };

/* Finds and initialises the device. Its size in bytes, or 0 when there is none or it refuses the handshake. */
uint64_t disk_open(void);

/*
 * Offers a request in a slot that has none. READ and WRITE use the memory at `data`, which is the device's until
 * the request has ended; the others ignore it.
 */
void disk_submit(uint32_t slot, enum disk_request request, uint64_t offset, uint32_t length, void *data);

/* A slot whose request has ended since the last call, or -1. `*status`: 0 when all went well. */
int disk_poll(uint8_t *status);

#endif
