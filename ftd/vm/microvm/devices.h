/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The microvm's devices. Each keeps its whole state in one flat structure, so
 * that the cycle captures it with a memcpy and restores it with another. All
 * functions are called with vm->devices held.
 */
#ifndef FTD_DEVICES_H
#define FTD_DEVICES_H

#include <stdbool.h>
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
#define DISK_IRQ 18

/* 16550A without timing: what is written has left at once, what comes in waits here to be read. */
#define SERIAL_RECEIVE_BYTES 64
struct serial {
	uint8_t ier, lcr, mcr, scratch, divisor_low, divisor_high, fifo_control;
	uint8_t empty_pending;	/* "transmitter empty" has not been told yet */
	uint8_t starved;	/* ... and cannot be told before the output ring has room */
	uint8_t received_count;
	uint8_t reserved[6];
	uint8_t received[SERIAL_RECEIVE_BYTES];
};

void serial_write(struct ftd_vm *vm, uint16_t port, uint8_t value);
uint8_t serial_read(struct ftd_vm *vm, uint16_t port);
/* Puts input where the guest can read it and returns how many bytes found room. */
size_t serial_receive(struct ftd_vm *vm, const void *data, size_t length);
void serial_room_made(struct ftd_vm *vm);	/* in its output ring */
bool serial_valid(const struct serial *serial);
void serial_resume(struct ftd_vm *vm);	/* before a restored machine runs: as virtio_resume */

/* Ways for a guest to end itself. ftd/vm/microvm/acpi.py names the ports to the guest. */
#define POWER_PM1_EVENT 0x600
#define POWER_PM1_CONTROL 0x604
#define POWER_OFF_TYPE 5
#define POWER_RESET 0xcf9
struct power {
	uint16_t enable, control;
	uint32_t ended;		/* 0, FTD_STOP_POWER_OFF or FTD_STOP_RESET */
};

/* False: not a port of this device. */
bool power_write(struct ftd_vm *vm, uint16_t port, uint32_t size, uint32_t value);
bool power_read(const struct ftd_vm *vm, uint16_t port, uint32_t size, uint32_t *value);

extern const struct virtio_kind net_kind;	/* net.h */

extern const struct virtio_kind console_kind;
/* Moves what the guest queued into the output ring, as far as there is room. */
void console_transmit(struct ftd_vm *vm);
/* Puts input into the guest's buffers and returns how many bytes they took. */
size_t console_receive(struct ftd_vm *vm, const void *data, size_t length);

#endif
