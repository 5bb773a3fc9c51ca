/* SPDX-License-Identifier: Apache-2.0 */
/* virtio console, section 5.3 of the specification: one port, no features. */
#include <linux/virtio_ids.h>

#include "devices.h"
#include "io.h"
#include "vm.h"

enum { QUEUE_RECEIVE, QUEUE_TRANSMIT, QUEUES };

static bool transmit_chain(struct ftd_vm *vm, const struct virtio_chain *chain)
{
	struct output_channel *channel = &vm->output.channels[OUTPUT_CONSOLE];

	if (chain->writable || chain->readable > OUTPUT_RING_BYTES / 2) {
		virtio_break(&vm->virtio[VIRTIO_CONSOLE]);
		return false;
	}
	if (chain->readable > output_room(channel)) {
		vm->transmit_waits = true;	/* for the gate to open */
		return false;
	}
	for (uint32_t i = 0; i < chain->count; i++) {
		const void *data = vm_guest(vm, chain->buffers[i].gpa, chain->buffers[i].length);

		count(&vm->counters->output_bytes_produced, output_append(channel, data, chain->buffers[i].length));
	}
	virtio_give_back(vm, &vm->virtio[VIRTIO_CONSOLE], QUEUE_TRANSMIT, chain->head, 0);
	return true;
}

void console_transmit(struct ftd_vm *vm)
{
	struct virtio_chain chain;
	bool any = false;

	vm->transmit_waits = false;
	while (virtio_ready(&vm->virtio[VIRTIO_CONSOLE], QUEUE_TRANSMIT) && vm_mark_room(vm) >= virtio_chain_pages(0, 0) &&
	       virtio_peek(vm, &vm->virtio[VIRTIO_CONSOLE], QUEUE_TRANSMIT, 0, &chain) > 0 && transmit_chain(vm, &chain))
		any = true;
	if (any) {
		virtio_interrupt(vm, &vm->virtio[VIRTIO_CONSOLE], QUEUE_TRANSMIT);
		io_output_produced(vm);
	}
}

size_t console_receive(struct ftd_vm *vm, const void *data, size_t length)
{
	struct virtio_chain chain;
	size_t done = 0;

	while (done < length && virtio_ready(&vm->virtio[VIRTIO_CONSOLE], QUEUE_RECEIVE) &&
	       virtio_peek(vm, &vm->virtio[VIRTIO_CONSOLE], QUEUE_RECEIVE, 0, &chain) > 0) {
		size_t part = min_u64(chain.writable, length - done);

		if (vm_mark_room(vm) < virtio_chain_pages(part, chain.count))
			break;
		if (chain.readable || !part ||
		    !virtio_copy_out(vm, &chain, 0, (const char *)data + done, part)) {
			virtio_break(&vm->virtio[VIRTIO_CONSOLE]);
			break;
		}
		virtio_give_back(vm, &vm->virtio[VIRTIO_CONSOLE], QUEUE_RECEIVE, chain.head, (uint32_t)part);
		done += part;
	}
	count(&vm->counters->input_bytes, done);
	if (done)
		virtio_interrupt(vm, &vm->virtio[VIRTIO_CONSOLE], QUEUE_RECEIVE);
	return done;
}

static void notified(struct ftd_vm *vm, uint32_t queue)
{
	if (queue == QUEUE_TRANSMIT)
		console_transmit(vm);
	else
		io_input_wanted(vm);
}

const struct virtio_kind console_kind = {
	.name = "console", .id = VIRTIO_ID_CONSOLE, .irq = CONSOLE_IRQ, .queues = QUEUES, .queue_size_max = 64, .notify = notified,
};
