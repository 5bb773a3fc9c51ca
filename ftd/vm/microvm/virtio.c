/* SPDX-License-Identifier: Apache-2.0 */
#include "virtio.h"

#include <linux/virtio_mmio.h>
#include <linux/virtio_ring.h>
#include <sys/ioctl.h>

#include "vm.h"

#define MAGIC 0x74726976u	/* "virt" */
#define VENDOR 0x44544655u	/* "UFTD" */
#define FEATURE_VERSION_1 (1ull << 32)
#define STATUS_DRIVER_OK 4u
#define STATUS_NEEDS_RESET 64u

_Static_assert(sizeof(struct virtio_state) % 8 == 0, "no tail padding");

void virtio_break(struct virtio_device *device)
{
	device->state.broken = 1;
	device->state.status |= STATUS_NEEDS_RESET;
}

/* ---- interrupts ---- */

static void set_line(struct ftd_vm *vm, const struct virtio_device *device)
{
	struct kvm_irq_level level = { .irq = device->kind->irq, .level = device->state.interrupt_status != 0 };

	if (vm->irqchip)
		ioctl(vm->fd, KVM_IRQ_LINE, &level);
}

void virtio_interrupt(struct ftd_vm *vm, struct virtio_device *device, uint32_t queue)
{
	const struct vring_avail *avail = vm_guest(vm, device->state.queues[queue].driver, sizeof(*avail));

	/* A full barrier: the used index before the flag, or a driver that enables interrupts and looks misses both. */
	atomic_thread_fence(memory_order_seq_cst);
	if (avail && (__atomic_load_n(&avail->flags, __ATOMIC_RELAXED) & VRING_AVAIL_F_NO_INTERRUPT))
		return;
	device->state.interrupt_status |= VIRTIO_MMIO_INT_VRING;
	set_line(vm, device);
}

/* ---- queues ---- */

static bool well_formed(const struct virtio_kind *kind, const struct virtqueue *queue)
{
	return queue->size > 0 && queue->size <= kind->queue_size_max && (queue->size & (queue->size - 1)) == 0 &&
	       queue->descriptors % 16 == 0 && queue->driver % 2 == 0 && queue->device % 4 == 0;
}

bool virtio_valid(const struct virtio_kind *kind, const struct virtio_state *state)
{
	for (uint32_t i = 0; i < VIRTIO_QUEUES_MAX; i++)
		if (state->queues[i].ready && (i >= kind->queues || !well_formed(kind, &state->queues[i])))
			return false;
	return true;
}

bool virtio_ready(const struct virtio_device *device, uint32_t queue)
{
	const struct virtio_state *state = &device->state;

	return device->kind && state->queues[queue].ready && !state->broken && (state->status & STATUS_DRIVER_OK);
}

static const struct vring_avail *avail_ring(struct ftd_vm *vm, const struct virtqueue *queue)
{
	return vm_guest(vm, queue->driver, sizeof(struct vring_avail) + sizeof(uint16_t) * queue->size);
}

static bool add_buffer(struct ftd_vm *vm, struct virtio_chain *chain, const struct vring_desc *descriptor)
{
	bool writable = descriptor->flags & VRING_DESC_F_WRITE;

	if ((descriptor->flags & VRING_DESC_F_INDIRECT) || !vm_guest(vm, descriptor->addr, descriptor->len) ||
	    (!writable && chain->writable))
		return false;
	chain->buffers[chain->count].gpa = descriptor->addr;
	chain->buffers[chain->count].length = descriptor->len;
	chain->buffers[chain->count].writable = writable;
	chain->count++;
	*(writable ? &chain->writable : &chain->readable) += descriptor->len;
	return true;
}

/* False: it breaks the rules; a loop among them shows in its length. */
static bool read_chain(struct ftd_vm *vm, const struct virtqueue *queue, struct virtio_chain *chain)
{
	const struct vring_desc *table = vm_guest(vm, queue->descriptors, sizeof(*table) * queue->size);
	uint16_t at = chain->head;

	chain->count = 0;
	chain->readable = chain->writable = 0;
	while (table && at < queue->size && chain->count < queue->size) {
		struct vring_desc descriptor;

		memcpy(&descriptor, &table[at], sizeof(descriptor));	/* once: the guest may change it */
		if (!add_buffer(vm, chain, &descriptor))
			return false;
		if (!(descriptor.flags & VRING_DESC_F_NEXT))
			return true;
		at = descriptor.next;
	}
	return false;
}

int virtio_peek(struct ftd_vm *vm, struct virtio_device *device, uint32_t queue_index, uint16_t ahead,
		struct virtio_chain *chain)
{
	const struct virtqueue *queue = &device->state.queues[queue_index];
	const struct vring_avail *avail = avail_ring(vm, queue);
	uint16_t offered;

	if (!avail) {
		virtio_break(device);
		return -1;
	}
	/* Acquire: the driver wrote the ring and the descriptors before the index. */
	offered = (uint16_t)(__atomic_load_n(&avail->idx, __ATOMIC_ACQUIRE) - queue->next_avail);
	if (offered > queue->size) {
		virtio_break(device);
		return -1;
	}
	if (offered <= ahead)
		return 0;
	chain->head = __atomic_load_n(&avail->ring[(uint16_t)(queue->next_avail + ahead) % queue->size],
				      __ATOMIC_RELAXED);
	if (read_chain(vm, queue, chain))
		return 1;
	virtio_break(device);
	return -1;
}

/* Calls for each piece of the chain's buffers of one direction; false: they do not hold so much, or a copy failed. */
static bool each_piece(struct ftd_vm *vm, const struct virtio_chain *chain, bool writable, uint64_t offset, char *data,
		       uint64_t length, bool (*copy)(struct ftd_vm *vm, uint64_t gpa, char *data, uint64_t length))
{
	for (uint32_t i = 0; i < chain->count && length; i++) {
		uint64_t held = chain->buffers[i].length, part;

		if (chain->buffers[i].writable != writable)
			continue;
		if (offset >= held) {
			offset -= held;
			continue;
		}
		part = min_u64(held - offset, length);
		if (!copy(vm, chain->buffers[i].gpa + offset, data, part))
			return false;
		data += part;
		length -= part;
		offset = 0;
	}
	return !length;
}

static bool copy_from_guest(struct ftd_vm *vm, uint64_t gpa, char *data, uint64_t length)
{
	const void *from = vm_guest(vm, gpa, length);

	if (from)
		memcpy(data, from, length);
	return from;
}

static bool copy_to_guest(struct ftd_vm *vm, uint64_t gpa, char *data, uint64_t length)
{
	void *to = vm_guest_for_write(vm, gpa, length);

	if (to)
		memcpy(to, data, length);
	return to;
}

bool virtio_copy_in(struct ftd_vm *vm, const struct virtio_chain *chain, uint64_t offset, void *to, uint64_t length)
{
	return each_piece(vm, chain, false, offset, to, length, copy_from_guest);
}

bool virtio_copy_out(struct ftd_vm *vm, const struct virtio_chain *chain, uint64_t offset, const void *from,
		     uint64_t length)
{
	/* The copy only reads what `from` points to. */
	return each_piece(vm, chain, true, offset, (char *)(uintptr_t)from, length, copy_to_guest);
}

void virtio_give_back(struct ftd_vm *vm, struct virtio_device *device, uint32_t queue_index, uint16_t head,
		      uint32_t written)
{
	struct virtqueue *queue = &device->state.queues[queue_index];
	struct vring_used *used = vm_guest_for_write(vm, queue->device,
						     sizeof(*used) + sizeof(struct vring_used_elem) * queue->size);

	if (!used) {
		virtio_break(device);
		return;
	}
	used->ring[queue->next_used % queue->size] = (struct vring_used_elem){ .id = head, .len = written };
	queue->next_used++;
	queue->next_avail++;
	/* Release: the guest that sees the index sees the element and the data. */
	__atomic_store_n(&used->idx, queue->next_used, __ATOMIC_RELEASE);
}

void virtio_resume(struct ftd_vm *vm, struct virtio_device *device)
{
	if (!device->kind)
		return;
	if (device->state.interrupt_status)
		set_line(vm, device);
	for (uint32_t i = 0; i < device->kind->queues; i++)
		if (virtio_ready(device, i) && device->kind->notify)
			device->kind->notify(vm, i);
}

/* ---- registers ---- */

static uint64_t features(const struct virtio_device *device)
{
	return device->kind->features | FEATURE_VERSION_1;
}

static void set_word(uint64_t *field, bool high, uint32_t value)
{
	*field = high ? (*field & 0xffffffffull) | (uint64_t)value << 32 : (*field & ~0xffffffffull) | value;
}

static void write_queue(struct virtio_device *device, uint64_t offset, uint32_t value)
{
	struct virtqueue *queue;

	if (device->state.queue_select >= device->kind->queues)
		return;
	queue = &device->state.queues[device->state.queue_select];
	switch (offset) {
	case VIRTIO_MMIO_QUEUE_NUM:
		if (value > 0 && value <= device->kind->queue_size_max && (value & (value - 1)) == 0)
			queue->size = value;
		else
			virtio_break(device);
		break;
	case VIRTIO_MMIO_QUEUE_READY:
		queue->ready = value & 1;
		if (queue->ready && !well_formed(device->kind, queue)) {
			queue->ready = 0;
			virtio_break(device);
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

static void write_status(struct ftd_vm *vm, struct virtio_device *device, uint32_t value)
{
	if (value) {
		device->state.status = value | (device->state.broken ? STATUS_NEEDS_RESET : 0);
		return;
	}
	memset(&device->state, 0, sizeof(device->state));
	set_line(vm, device);
	if (device->kind->reset)
		device->kind->reset(vm);
}

void virtio_write(struct ftd_vm *vm, struct virtio_device *device, uint64_t offset, uint32_t length, uint32_t value)
{
	struct virtio_state *state = &device->state;

	if (length != 4 || offset % 4)
		return;		/* registers are words, and no configuration space of ours can be written */
	switch (offset) {
	case VIRTIO_MMIO_STATUS:
		write_status(vm, device, value);
		break;
	case VIRTIO_MMIO_DEVICE_FEATURES_SEL:
		state->device_features_select = value;
		break;
	case VIRTIO_MMIO_DRIVER_FEATURES_SEL:
		state->driver_features_select = value;
		break;
	case VIRTIO_MMIO_DRIVER_FEATURES:
		if (state->driver_features_select < 2)
			state->driver_features[state->driver_features_select] = value;
		break;
	case VIRTIO_MMIO_QUEUE_SEL:
		state->queue_select = value;
		break;
	case VIRTIO_MMIO_QUEUE_NOTIFY:
		if (value < device->kind->queues && device->kind->notify)
			device->kind->notify(vm, value);
		break;
	case VIRTIO_MMIO_INTERRUPT_ACK:
		state->interrupt_status &= ~value;
		set_line(vm, device);
		break;
	default:
		write_queue(device, offset, value);
	}
}

static uint32_t read_config(const struct ftd_vm *vm, const struct virtio_device *device, uint64_t offset,
			    uint32_t length)
{
	uint32_t value = 0;

	for (uint32_t i = 0; device->kind->config && i < length && i < sizeof(value); i++)
		value |= (uint32_t)device->kind->config(vm, (uint32_t)(offset - VIRTIO_MMIO_CONFIG) + i) << 8 * i;
	return value;
}

uint32_t virtio_read(const struct ftd_vm *vm, const struct virtio_device *device, uint64_t offset, uint32_t length)
{
	const struct virtio_state *state = &device->state;
	bool queue = state->queue_select < device->kind->queues;

	if (offset >= VIRTIO_MMIO_CONFIG)
		return read_config(vm, device, offset, length);
	if (length != 4)
		return 0;
	switch (offset) {
	case VIRTIO_MMIO_MAGIC_VALUE:
		return MAGIC;
	case VIRTIO_MMIO_VERSION:
		return 2;
	case VIRTIO_MMIO_DEVICE_ID:
		return device->kind->id;
	case VIRTIO_MMIO_VENDOR_ID:
		return VENDOR;
	case VIRTIO_MMIO_DEVICE_FEATURES:
		return state->device_features_select < 2 ?
			       (uint32_t)(features(device) >> 32 * state->device_features_select) : 0;
	case VIRTIO_MMIO_QUEUE_NUM_MAX:
		return queue ? device->kind->queue_size_max : 0;
	case VIRTIO_MMIO_QUEUE_READY:
		return queue ? state->queues[state->queue_select].ready : 0;
	case VIRTIO_MMIO_INTERRUPT_STATUS:
		return state->interrupt_status;
	case VIRTIO_MMIO_STATUS:
		return state->status;
	default:
		return 0;	/* among them ConfigGeneration: no configuration of ours changes */
	}
}
