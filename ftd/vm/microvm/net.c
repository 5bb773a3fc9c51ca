/* SPDX-License-Identifier: Apache-2.0 */
/*
 * virtio net, section 5.1 of the specification: one pair of queues, no offloads.
 * Without offloads a frame fits one buffer, so there are no mergeable buffers.
 */
#include "net.h"

#include <linux/virtio_ids.h>
#include <linux/virtio_net.h>

#include "devices.h"
#include "io.h"
#include "vm.h"

enum { QUEUE_RECEIVE, QUEUE_TRANSMIT, QUEUES };

#define HEADER_BYTES ((uint32_t)sizeof(struct virtio_net_hdr_v1))
#define FEATURE(bit) (1ull << (bit))

static const struct virtio_net_hdr_v1 received_header = { .num_buffers = 1 };

bool net_append(struct ftd_vm *vm, const uint8_t *frame, uint32_t length)
{
	struct output_channel *channel = &vm->output.channels[OUTPUT_NET];

	if (output_room(channel) < NET_RECORD_HEAD + length)
		return false;
	net_addresses_sent(&vm->net.addresses, vm->net.mac, frame, length);
	/* Head and frame become visible, and are marked, in one: never a part of a frame. */
	output_put(channel, 0, &length, sizeof(length));
	output_put(channel, NET_RECORD_HEAD, frame, length);
	output_publish(channel, NET_RECORD_HEAD + length);
	count(&vm->counters->output_bytes_produced, NET_RECORD_HEAD + length);
	return true;
}

/* 1: given back, 0: it has to wait, -1: it breaks the rules. */
static int transmit_chain(struct ftd_vm *vm, const struct virtio_chain *chain)
{
	uint64_t length = chain->readable - HEADER_BYTES;

	if (chain->writable || chain->readable < HEADER_BYTES)
		return -1;
	if (length < NET_FRAME_MIN || length > net_frame_max(&vm->net)) {
		count(&vm->counters->net_sent_dropped, 1);	/* as a wire would */
	} else {
		if (!virtio_copy_in(vm, chain, HEADER_BYTES, vm->net.frame, length))
			return -1;
		if (!net_append(vm, vm->net.frame, (uint32_t)length)) {
			vm->net.transmit_waits = true;	/* for the gate to open */
			return 0;
		}
	}
	virtio_give_back(vm, &vm->virtio[VIRTIO_NET], QUEUE_TRANSMIT, chain->head, 0);
	return 1;
}

static bool may_mark(struct ftd_vm *vm, uint32_t pages)
{
	if (vm_mark_room(vm) >= pages)
		return true;
	atomic_store(&vm->net.marks_short, true);
	return false;
}

void net_transmit(struct ftd_vm *vm)
{
	struct virtio_device *device = &vm->virtio[VIRTIO_NET];
	struct virtio_chain chain;
	bool any = false;
	int done = 1;

	vm->net.transmit_waits = false;
	while (done > 0 && virtio_ready(device, QUEUE_TRANSMIT) && may_mark(vm, virtio_chain_pages(0, 0)) &&
	       virtio_peek(vm, device, QUEUE_TRANSMIT, 0, &chain) > 0) {
		done = transmit_chain(vm, &chain);
		if (done < 0)
			virtio_break(device);
		any |= done > 0;
	}
	if (any) {
		virtio_interrupt(vm, device, QUEUE_TRANSMIT);
		io_output_produced(vm);
	}
}

/* 1: the guest has it, or cannot ever have it; 0: it has to wait. */
static int receive_frame(struct ftd_vm *vm, const struct net_frame *frame, bool *taken)
{
	struct virtio_device *device = &vm->virtio[VIRTIO_NET];
	uint32_t length = HEADER_BYTES + frame->length;
	struct virtio_chain chain;
	int found = 0;

	if (virtio_ready(device, QUEUE_RECEIVE)) {
		found = virtio_peek(vm, device, QUEUE_RECEIVE, 0, &chain);
		vm->net.receive_waits = found == 0;
		if (!found || (found > 0 && !may_mark(vm, virtio_chain_pages(length, chain.count))))
			return 0;
	}
	if (found > 0 && chain.readable)
		virtio_break(device);
	if (found <= 0 || chain.readable || chain.writable < length) {
		count(&vm->counters->net_received_dropped, 1);
		return 1;
	}
	net_addresses_heard(&vm->net.addresses, vm->net.mac, frame->bytes, frame->length);
	if (!virtio_copy_out(vm, &chain, 0, &received_header, HEADER_BYTES) ||
	    !virtio_copy_out(vm, &chain, HEADER_BYTES, frame->bytes, frame->length)) {
		virtio_break(device);
		return 1;
	}
	virtio_give_back(vm, device, QUEUE_RECEIVE, chain.head, length);
	count(&vm->counters->net_received, 1);
	count(&vm->counters->input_bytes, frame->length);
	*taken = true;
	return 1;
}

uint32_t net_receive(struct ftd_vm *vm, const struct net_frame *frames, uint32_t frame_count)
{
	bool taken = false;
	uint32_t done = 0;

	while (done < frame_count && receive_frame(vm, &frames[done], &taken))
		done++;
	if (taken)
		virtio_interrupt(vm, &vm->virtio[VIRTIO_NET], QUEUE_RECEIVE);
	return done;
}

static void notified(struct ftd_vm *vm, uint32_t queue)
{
	if (queue == QUEUE_TRANSMIT)
		net_transmit(vm);
	else if (vm->net.receive_waits)
		io_input_wanted(vm);
}

static void reset(struct ftd_vm *vm)
{
	vm->net.transmit_waits = false;
	if (vm->net.receive_waits)
		io_input_wanted(vm);	/* what waits is dropped now */
	vm->net.receive_waits = false;
}

static uint8_t config(const struct ftd_vm *vm, uint32_t offset)
{
	struct virtio_net_config fields = { .status = VIRTIO_NET_S_LINK_UP, .mtu = vm->net.mtu };

	memcpy(fields.mac, vm->net.mac, sizeof(fields.mac));
	return offset < sizeof(fields) ? ((const uint8_t *)&fields)[offset] : 0;
}

const struct virtio_kind net_kind = {
	.name = "net", .id = VIRTIO_ID_NET, .irq = NET_IRQ, .queues = QUEUES, .queue_size_max = VIRTIO_QUEUE_SIZE_MAX,
	.features = FEATURE(VIRTIO_NET_F_MAC) | FEATURE(VIRTIO_NET_F_STATUS) | FEATURE(VIRTIO_NET_F_MTU),
	.notify = notified, .reset = reset, .config = config,
};
