/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The microvm's devices. Each keeps its whole state in one flat structure, so
 * that the cycle captures it with a memcpy and restores it with another. All
 * functions are called with vm->devices held.
 */
#ifndef FTD_DEVICES_H
#define FTD_DEVICES_H

#include <stddef.h>
#include <stdint.h>

#include "virtio.h"

#define SERIAL_PORT 0x3f8
#define SERIAL_PORTS 8
#define SERIAL_IRQ 4

/* The windows of the virtio devices lie one after the other from here on. */
#define VIRTIO_BASE 0xd0000000ull
enum virtio_device_id { VIRTIO_CONSOLE, VIRTIO_NET, VIRTIO_DISK, VIRTIO_DEVICES };
#define CONSOLE_IRQ 16
#define NET_IRQ 17

/* 16550 without FIFO timing: what is written leaves, what is read was never sent. */
struct serial {
	uint8_t ier, lcr, mcr, scratch, divisor_low, divisor_high, reserved[2];
};

void serial_write(struct ftd_vm *vm, uint16_t port, uint8_t value);
uint8_t serial_read(struct ftd_vm *vm, uint16_t port);

extern const struct virtio_kind net_kind;	/* net.h */

extern const struct virtio_kind console_kind;
/* Moves what the guest queued into the output ring, as far as there is room. */
void console_transmit(struct ftd_vm *vm);
/* Puts input into the guest's buffers and returns how many bytes they took. */
size_t console_receive(struct ftd_vm *vm, const void *data, size_t length);

#endif
