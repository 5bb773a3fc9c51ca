/* SPDX-License-Identifier: Apache-2.0 */
/*
 * virtio over MMIO, after the Virtual I/O Device specification 1.2, sections
 * 4.2 (transport, version 2) and 2.7 (split virtqueues): what all devices share.
 *
 * Everything read from guest memory is hostile: indices, addresses, lengths
 * and chains are checked, each descriptor is read once, and a driver that
 * breaks the rules finds its device broken (DEVICE_NEEDS_RESET), not the worker.
 *
 * A device's window is VIRTIO_WINDOW_SIZE bytes: registers, and from
 * VIRTIO_MMIO_CONFIG on its configuration space. All functions are called with
 * vm->devices held.
 */
#ifndef FTD_VIRTIO_H
#define FTD_VIRTIO_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct ftd_vm;

#define VIRTIO_WINDOW_SIZE 0x1000ull
#define VIRTIO_QUEUES_MAX 2
#define VIRTIO_QUEUE_SIZE_MAX 256

struct virtqueue {
	uint64_t descriptors, driver, device;	/* guest physical: table, avail ring, used ring */
	uint32_t size;
	uint32_t ready;
	uint16_t next_avail, next_used;		/* chains given back: one that is in work counts as not taken */
	uint32_t reserved;
};

/* The transport's part of a device's state: captured and restored as it is. */
struct virtio_state {
	struct virtqueue queues[VIRTIO_QUEUES_MAX];
	uint32_t status, device_features_select, driver_features_select, queue_select;
	uint32_t interrupt_status;
	uint32_t driver_features[2];
	uint32_t broken;	/* the driver broke the rules: needs reset (status bit 64) */
};

/* What a device is. Callbacks may be NULL. */
struct virtio_kind {
	const char *name;	/* of its section of a checkpoint */
	uint32_t id;		/* section 5 of the specification */
	uint32_t irq;		/* interrupt line, level, active high */
	uint32_t queues, queue_size_max;
	uint64_t features;	/* besides VERSION_1 */
	void (*notify)(struct ftd_vm *vm, uint32_t queue);
	void (*reset)(struct ftd_vm *vm);
	uint8_t (*config)(const struct ftd_vm *vm, uint32_t offset);	/* one byte of the configuration space */
};

struct virtio_device {
	const struct virtio_kind *kind;	/* NULL: the machine does not have it */
	struct virtio_state state;
};

/* One request of the driver: its buffers, each checked to be RAM. Valid until the queue or the memory map changes. */
struct virtio_chain {
	uint16_t head;
	uint32_t count;
	uint64_t readable, writable;	/* bytes; readable buffers come first */
	struct {
		uint64_t gpa;
		uint32_t length;
		bool writable;
	} buffers[VIRTIO_QUEUE_SIZE_MAX];
};

/* Distinct pages that answering one chain may write, if its writable buffers hold `bytes`. */
static inline uint32_t virtio_chain_pages(uint64_t bytes, uint32_t buffers)
{
	return (uint32_t)(bytes >> 12) + 2 * buffers + 2;	/* both ends of each buffer, and two of the used ring */
}

void virtio_write(struct ftd_vm *vm, struct virtio_device *device, uint64_t offset, uint32_t length, uint32_t value);
uint32_t virtio_read(const struct ftd_vm *vm, const struct virtio_device *device, uint64_t offset, uint32_t length);

/* Whether a state that came from elsewhere keeps the rules that virtio.c relies on. */
bool virtio_valid(const struct virtio_kind *kind, const struct virtio_state *state);

/* The driver has set the device and this queue up, and has not broken the rules. */
bool virtio_ready(const struct virtio_device *device, uint32_t queue);
void virtio_break(struct virtio_device *device);
/*
 * Looks at the `ahead`th chain that was offered and not given back: 1, or 0 if
 * there is none. A chain that breaks the rules breaks the device: -1.
 */
int virtio_peek(struct ftd_vm *vm, struct virtio_device *device, uint32_t queue, uint16_t ahead,
		struct virtio_chain *chain);
/* Copies `length` readable bytes from `offset` on; false: there are not so many. */
bool virtio_copy_in(struct ftd_vm *vm, const struct virtio_chain *chain, uint64_t offset, void *to, uint64_t length);
/* The same for writable bytes. False as well when the device model has no room to mark the pages. */
bool virtio_copy_out(struct ftd_vm *vm, const struct virtio_chain *chain, uint64_t offset, const void *from,
		     uint64_t length);
/* Gives the oldest chain, whose head is `head`, back with `written` bytes in its writable buffers. */
void virtio_give_back(struct ftd_vm *vm, struct virtio_device *device, uint32_t queue, uint16_t head,
		      uint32_t written);
/* After one or more chains were given back: tells the driver, unless it does not want to know. */
void virtio_interrupt(struct ftd_vm *vm, struct virtio_device *device, uint32_t queue);
/*
 * Before a restored machine runs: an interrupt that the driver has not acknowledged is raised again, and chains
 * that the checkpoint found waiting are looked at: the driver has told of them already.
 */
void virtio_resume(struct ftd_vm *vm, struct virtio_device *device);

#endif
