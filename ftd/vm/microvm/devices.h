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

struct ftd_vm;

#define SERIAL_PORT 0x3f8
#define SERIAL_PORTS 8
#define CONSOLE_BASE 0xd0000000ull
#define CONSOLE_SIZE 0x1000ull
#define SERIAL_IRQ 4
#define CONSOLE_IRQ 5

/* 16550 without FIFO timing: what is written leaves, what is read was never sent. */
struct serial {
	uint8_t ier, lcr, mcr, scratch, divisor_low, divisor_high, reserved[2];
};

#define QUEUE_SIZE_MAX 64
enum { CONSOLE_QUEUE_RECEIVE, CONSOLE_QUEUE_TRANSMIT, CONSOLE_QUEUES };

struct virtqueue {
	uint64_t descriptors, driver, device;	/* guest physical: table, avail ring, used ring */
	uint32_t size;
	uint32_t ready;
	uint16_t next_avail, next_used;
	uint32_t reserved;
};

/* virtio-mmio, version 2, device 3 (console), one port, no console features. */
struct console {
	struct virtqueue queues[CONSOLE_QUEUES];
	uint32_t status, device_features_select, driver_features_select, queue_select;
	uint32_t interrupt_status;
	uint32_t driver_features[2];
	uint32_t broken;	/* the driver broke the rules: needs reset (status bit 64) */
};

void serial_write(struct ftd_vm *vm, uint16_t port, uint8_t value);
uint8_t serial_read(struct ftd_vm *vm, uint16_t port);

void console_write(struct ftd_vm *vm, uint64_t offset, uint32_t value);
uint32_t console_read(struct ftd_vm *vm, uint64_t offset);
/* Moves what the guest queued into the output ring, as far as there is room. */
void console_transmit(struct ftd_vm *vm);
/* Puts input into the guest's buffers and returns how many bytes they took. */
size_t console_receive(struct ftd_vm *vm, const void *data, size_t length);
/* Whether a state that came from elsewhere keeps the rules that console.c relies on. */
bool console_valid(const struct console *console);

#endif
