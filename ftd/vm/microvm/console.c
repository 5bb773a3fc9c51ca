/* SPDX-License-Identifier: Apache-2.0 */
/*
 * virtio-mmio console, after the Virtual I/O Device specification 1.2, sections
 * 4.2 (MMIO transport), 2.7 (split virtqueues) and 5.3 (console).
 *
 * Everything read from guest memory is hostile: indices, addresses, lengths
 * and chains are checked before use, and a driver that breaks the rules finds
 * its device broken (DEVICE_NEEDS_RESET), not the worker.
 */
#include <linux/virtio_mmio.h>
#include <linux/virtio_ring.h>
#include <sys/ioctl.h>

#include "devices.h"
#include "io.h"
#include "vm.h"

#define MAGIC 0x74726976u	/* "virt" */
#define VENDOR 0x44544655u	/* "UFTD" */
#define DEVICE_CONSOLE 3
#define FEATURE_VERSION_1 1u	/* bit 32: bit 0 of the high word */
#define STATUS_DRIVER_OK 4u
#define STATUS_NEEDS_RESET 64u

/* Distinct pages that one chain may write: two for each buffer, and two of the used ring. */
#define CHAIN_PAGES_MAX (2 * QUEUE_SIZE_MAX + 2)

static void break_device(struct ftd_vm *vm)
{
	vm->console.broken = 1;
	vm->console.status |= STATUS_NEEDS_RESET;
}

static void interrupt(struct ftd_vm *vm)
{
	struct kvm_irq_level level = { .irq = CONSOLE_IRQ, .level = 1 };

	vm->console.interrupt_status |= VIRTIO_MMIO_INT_VRING;
	if (vm->irqchip)
		ioctl(vm->fd, KVM_IRQ_LINE, &level);
}

static void lower_interrupt(struct ftd_vm *vm)
{
	struct kvm_irq_level level = { .irq = CONSOLE_IRQ, .level = 0 };

	if (vm->irqchip && !vm->console.interrupt_status)
		ioctl(vm->fd, KVM_IRQ_LINE, &level);
}

static bool well_formed(const struct virtqueue *queue)
{
	return queue->size > 0 && queue->size <= QUEUE_SIZE_MAX && (queue->size & (queue->size - 1)) == 0 &&
	       queue->descriptors % 16 == 0 && queue->driver % 2 == 0 && queue->device % 4 == 0;
}

bool console_valid(const struct console *console)
{
	for (int i = 0; i < CONSOLE_QUEUES; i++)
		if (console->queues[i].ready && !well_formed(&console->queues[i]))
			return false;
	return true;
}

static bool usable(const struct console *console, const struct virtqueue *queue)
{
	return queue->ready && !console->broken && (console->status & STATUS_DRIVER_OK);
}

/* How many chains the driver has offered and we have not taken. */
static uint16_t offered(struct ftd_vm *vm, const struct virtqueue *queue)
{
	const struct vring_avail *avail = vm_guest(vm, queue->driver, 4 + 2ull * queue->size);
	uint16_t waiting;

	if (!avail) {
		break_device(vm);
		return 0;
	}
	/* Acquire: the driver wrote the ring and the descriptors before the index. */
	waiting = (uint16_t)(__atomic_load_n(&avail->idx, __ATOMIC_ACQUIRE) - queue->next_avail);
	if (waiting > queue->size) {
		break_device(vm);
		return 0;
	}
	return waiting;
}

static bool read_descriptor(struct ftd_vm *vm, const struct virtqueue *queue, uint16_t index,
			    struct vring_desc *descriptor)
{
	const struct vring_desc *table = vm_guest(vm, queue->descriptors, sizeof(*table) * queue->size);

	if (!table || index >= queue->size)
		return false;
	memcpy(descriptor, &table[index], sizeof(*descriptor));	/* once: the guest may change it */
	return !(descriptor->flags & VRING_DESC_F_INDIRECT);
}

static bool first_of_chain(struct ftd_vm *vm, const struct virtqueue *queue, uint16_t *head)
{
	const struct vring_avail *avail = vm_guest(vm, queue->driver, 4 + 2ull * queue->size);

	if (!avail)
		return false;
	*head = __atomic_load_n(&avail->ring[queue->next_avail % queue->size], __ATOMIC_RELAXED);
	return *head < queue->size;
}

static void give_back(struct ftd_vm *vm, struct virtqueue *queue, uint16_t head, uint32_t written)
{
	struct vring_used *used = vm_guest_for_write(vm, queue->device, 4 + sizeof(struct vring_used_elem) * queue->size);

	if (!used) {
		break_device(vm);
		return;
	}
	used->ring[queue->next_used % queue->size] = (struct vring_used_elem){ .id = head, .len = written };
	queue->next_used++;
	queue->next_avail++;
	/* Release: the guest that sees the index sees the element and the data. */
	__atomic_store_n(&used->idx, queue->next_used, __ATOMIC_RELEASE);
}

/* Bytes of a chain's readable buffers, or -1 for a chain that breaks the rules. */
static int64_t chain_length(struct ftd_vm *vm, const struct virtqueue *queue, uint16_t head, bool writable)
{
	struct vring_desc descriptor;
	int64_t length = 0;

	for (uint32_t links = 0; links < queue->size; links++) {
		if (!read_descriptor(vm, queue, head, &descriptor) ||
		    !vm_guest(vm, descriptor.addr, descriptor.len) ||
		    writable != !!(descriptor.flags & VRING_DESC_F_WRITE))
			return -1;
		length += descriptor.len;
		if (!(descriptor.flags & VRING_DESC_F_NEXT))
			return length;
		head = descriptor.next;
	}
	return -1;	/* a loop */
}

static bool transmit_chain(struct ftd_vm *vm, struct virtqueue *queue, uint16_t head)
{
	struct output_channel *channel = &vm->output.channels[OUTPUT_CONSOLE];
	int64_t length = chain_length(vm, queue, head, false);
	struct vring_desc descriptor;

	if (length < 0 || length > OUTPUT_RING_BYTES / 2) {
		break_device(vm);
		return false;
	}
	if ((uint64_t)length > output_room(channel)) {
		vm->transmit_waits = true;	/* for the gate to open */
		return false;
	}
	for (uint16_t at = head;; at = descriptor.next) {
		const void *data;

		/* Read again after the check; whatever the guest did meanwhile, each use is checked. */
		if (!read_descriptor(vm, queue, at, &descriptor) ||
		    !(data = vm_guest(vm, descriptor.addr, descriptor.len)) || descriptor.len > length) {
			break_device(vm);
			return false;
		}
		length -= descriptor.len;
		count(&vm->counters->output_bytes_produced, output_append(channel, data, descriptor.len));
		if (!(descriptor.flags & VRING_DESC_F_NEXT) || length == 0)
			break;
	}
	give_back(vm, queue, head, 0);
	return true;
}

void console_transmit(struct ftd_vm *vm)
{
	struct virtqueue *queue = &vm->console.queues[CONSOLE_QUEUE_TRANSMIT];
	bool any = false;
	uint16_t head;

	vm->transmit_waits = false;
	while (usable(&vm->console, queue) && vm_mark_room(vm) >= CHAIN_PAGES_MAX && offered(vm, queue)) {
		if (!first_of_chain(vm, queue, &head)) {
			break_device(vm);
			break;
		}
		if (!transmit_chain(vm, queue, head))
			break;
		any = true;
	}
	if (any) {
		interrupt(vm);
		io_output_produced(vm);
	}
}

/* Fills one chain and returns how many bytes it took; 0: the driver broke the rules. */
static size_t receive_chain(struct ftd_vm *vm, struct virtqueue *queue, const char *data, size_t length)
{
	struct vring_desc descriptor;
	size_t done = 0;
	uint16_t head, at;

	if (!first_of_chain(vm, queue, &head) || chain_length(vm, queue, head, true) <= 0) {
		break_device(vm);
		return 0;
	}
	at = head;
	for (uint32_t links = 0; links < queue->size && done < length; links++) {
		size_t part;
		void *to;

		if (!read_descriptor(vm, queue, at, &descriptor))
			break;
		part = min_u64(descriptor.len, length - done);
		to = vm_guest_for_write(vm, descriptor.addr, part);
		if (!to)
			break;
		memcpy(to, data + done, part);
		done += part;
		if (!(descriptor.flags & VRING_DESC_F_NEXT))
			break;
		at = descriptor.next;
	}
	if (!done)
		break_device(vm);
	else
		give_back(vm, queue, head, (uint32_t)done);
	return done;
}

size_t console_receive(struct ftd_vm *vm, const void *data, size_t length)
{
	struct virtqueue *queue = &vm->console.queues[CONSOLE_QUEUE_RECEIVE];
	size_t done = 0;

	while (done < length && usable(&vm->console, queue) && vm_mark_room(vm) >= CHAIN_PAGES_MAX &&
	       offered(vm, queue)) {
		size_t part = receive_chain(vm, queue, (const char *)data + done, length - done);

		if (!part)
			break;
		done += part;
	}
	count(&vm->counters->input_bytes, done);
	if (done)
		interrupt(vm);
	return done;
}

static void set_word(uint64_t *field, bool high, uint32_t value)
{
	*field = high ? (*field & 0xffffffffull) | (uint64_t)value << 32 : (*field & ~0xffffffffull) | value;
}

static void write_queue(struct ftd_vm *vm, uint64_t offset, uint32_t value)
{
	struct console *console = &vm->console;
	struct virtqueue *queue;

	if (console->queue_select >= CONSOLE_QUEUES)
		return;
	queue = &console->queues[console->queue_select];
	switch (offset) {
	case VIRTIO_MMIO_QUEUE_NUM:
		if (value > 0 && value <= QUEUE_SIZE_MAX && (value & (value - 1)) == 0)
			queue->size = value;
		else
			break_device(vm);
		break;
	case VIRTIO_MMIO_QUEUE_READY:
		queue->ready = value & 1;
		if (queue->ready && !well_formed(queue)) {
			queue->ready = 0;
			break_device(vm);
		}
		break;
	case VIRTIO_MMIO_QUEUE_DESC_LOW:
	case VIRTIO_MMIO_QUEUE_DESC_HIGH:
		set_word(&queue->descriptors, offset == VIRTIO_MMIO_QUEUE_DESC_HIGH, value);
		break;
	case VIRTIO_MMIO_QUEUE_AVAIL_LOW:
	case VIRTIO_MMIO_QUEUE_AVAIL_HIGH:
		set_word(&queue->driver, offset == VIRTIO_MMIO_QUEUE_AVAIL_HIGH, value);
		break;
	case VIRTIO_MMIO_QUEUE_USED_LOW:
	case VIRTIO_MMIO_QUEUE_USED_HIGH:
		set_word(&queue->device, offset == VIRTIO_MMIO_QUEUE_USED_HIGH, value);
		break;
	default:
		break;
	}
}

void console_write(struct ftd_vm *vm, uint64_t offset, uint32_t value)
{
	struct console *console = &vm->console;

	switch (offset) {
	case VIRTIO_MMIO_STATUS:
		if (value == 0) {
			memset(console, 0, sizeof(*console));
			lower_interrupt(vm);
		} else {
			console->status = value | (console->broken ? STATUS_NEEDS_RESET : 0);
		}
		break;
	case VIRTIO_MMIO_DEVICE_FEATURES_SEL:
		console->device_features_select = value;
		break;
	case VIRTIO_MMIO_DRIVER_FEATURES_SEL:
		console->driver_features_select = value;
		break;
	case VIRTIO_MMIO_DRIVER_FEATURES:
		if (console->driver_features_select < 2)
			console->driver_features[console->driver_features_select] = value;
		break;
	case VIRTIO_MMIO_QUEUE_SEL:
		console->queue_select = value;
		break;
	case VIRTIO_MMIO_QUEUE_NOTIFY:
		if (value == CONSOLE_QUEUE_TRANSMIT)
			console_transmit(vm);
		else
			io_input_wanted(vm);
		break;
	case VIRTIO_MMIO_INTERRUPT_ACK:
		console->interrupt_status &= ~value;
		lower_interrupt(vm);
		break;
	default:
		write_queue(vm, offset, value);
	}
}

uint32_t console_read(struct ftd_vm *vm, uint64_t offset)
{
	const struct console *console = &vm->console;

	switch (offset) {
	case VIRTIO_MMIO_MAGIC_VALUE:
		return MAGIC;
	case VIRTIO_MMIO_VERSION:
		return 2;
	case VIRTIO_MMIO_DEVICE_ID:
		return DEVICE_CONSOLE;
	case VIRTIO_MMIO_VENDOR_ID:
		return VENDOR;
	case VIRTIO_MMIO_DEVICE_FEATURES:
		return console->device_features_select == 1 ? FEATURE_VERSION_1 : 0;
	case VIRTIO_MMIO_QUEUE_NUM_MAX:
		return console->queue_select < CONSOLE_QUEUES ? QUEUE_SIZE_MAX : 0;
	case VIRTIO_MMIO_QUEUE_READY:
		return console->queue_select < CONSOLE_QUEUES ? console->queues[console->queue_select].ready : 0;
	case VIRTIO_MMIO_INTERRUPT_STATUS:
		return console->interrupt_status;
	case VIRTIO_MMIO_STATUS:
		return console->status;
	default:
		return 0;	/* ConfigGeneration, and a configuration space without features */
	}
}
