/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The network device against a driver of our own. An honest driver's frames
 * come out whole, in order and unchanged, once each, however they are cut into
 * buffers and whatever waits for the gate or for room to mark pages; frames for
 * it land in its buffers. A hostile driver breaks its device and nothing else.
 *
 * net_model SEED CASES: every third case is a hostile one.
 */
#include <linux/virtio_mmio.h>
#include <linux/virtio_net.h>
#include <linux/virtio_ring.h>

#include "check.h"
#include "io.h"
#include "net.h"
#include "stub_guest.h"
#include "stub_machine.h"

#define MEMORY_BYTES (1u << 20)
#define MTU 1500u
#define FRAME_MAX (MTU + 18u)
#define HEADER 12u
#define BUFFERS_AT 0x10000u	/* queues below, buffers above */
#define STEPS 1500
#define MAC { 2, 0, 0, 0, 0, 1 }

enum { RECEIVE, TRANSMIT };

static const struct { uint32_t descriptors, driver, device; } places[] = {
	{ 0x1000, 0x3000, 0x4000 }, { 0x6000, 0x8000, 0x9000 },
};

static struct ftd_vm *vm;
static struct virtio_device *device;
static struct random dice;
static uint32_t input_wakes;

/* ---- what the device calls of the machine ---- */

void io_output_produced(struct ftd_vm *machine)
{
	(void)machine;
}

void io_input_wanted(struct ftd_vm *machine)
{
	(void)machine;
	input_wakes++;
}

/* ---- an honest driver ---- */

/* One queue as the driver sees it; `next` is the first descriptor that it would use. */
struct driver {
	uint32_t size;
	uint16_t offered, used;
	uint32_t free, next;
	uint16_t chain_lengths[VIRTIO_QUEUE_SIZE_MAX];	/* by place in the ring of offers */
	uint16_t heads[VIRTIO_QUEUE_SIZE_MAX];
	uint32_t room[VIRTIO_QUEUE_SIZE_MAX];		/* receive: bytes of the chain's buffers */
};

static struct driver drivers[2];
static uint64_t frames_sent, frames_out, frames_in;	/* frame n of the guest, and of outside, has its own bytes */
static uint32_t sent_lengths[1 << 16];
static uint64_t sealed, acked;
static bool start_over, gate_stays_shut;

static uint8_t byte_of(uint64_t frame, uint32_t at)
{
	return (uint8_t)((frame * 251 + at) * 0x9e3779b97f4a7c15ull >> 56);
}

static void write_register(uint32_t offset, uint32_t value)
{
	virtio_write(vm, device, offset, 4, value);
}

static void set_up_queue(uint32_t queue)
{
	struct driver *driver = &drivers[queue];

	memset(driver, 0, sizeof(*driver));
	driver->size = driver->free = 1u << (4 + random_below(&dice, 5));
	write_register(VIRTIO_MMIO_QUEUE_SEL, queue);
	write_register(VIRTIO_MMIO_QUEUE_NUM, driver->size);
	write_register(VIRTIO_MMIO_QUEUE_DESC_LOW, places[queue].descriptors);
	write_register(VIRTIO_MMIO_QUEUE_AVAIL_LOW, places[queue].driver);
	write_register(VIRTIO_MMIO_QUEUE_USED_LOW, places[queue].device);
	write_register(VIRTIO_MMIO_QUEUE_READY, 1);
}

static void set_up_device(void)
{
	memset(vm->memory, 0, vm->memory_bytes);
	write_register(VIRTIO_MMIO_STATUS, 0);
	write_register(VIRTIO_MMIO_STATUS, 11);
	set_up_queue(RECEIVE);
	set_up_queue(TRANSMIT);
	write_register(VIRTIO_MMIO_STATUS, 15);
}

static struct vring_desc *descriptor(uint32_t queue, uint32_t index)
{
	return (struct vring_desc *)(vm->memory + places[queue].descriptors) + index % drivers[queue].size;
}

/* Where a descriptor's buffer lies: each has a place of its own, at an odd address. */
static uint32_t buffer_of(uint32_t queue, uint32_t index)
{
	return BUFFERS_AT + (queue * VIRTIO_QUEUE_SIZE_MAX + index) * 1600 + index % 7;
}

/* Offers one chain of `count` descriptors with `length` bytes in all. */
static void offer(uint32_t queue, uint32_t count, uint32_t length, uint16_t flags)
{
	struct driver *driver = &drivers[queue];
	struct vring_avail *avail = (struct vring_avail *)(vm->memory + places[queue].driver);
	uint32_t left = length, place = driver->offered % driver->size;

	driver->heads[place] = (uint16_t)(driver->next % driver->size);
	driver->chain_lengths[place] = (uint16_t)count;
	driver->room[place] = length;
	for (uint32_t i = 0; i < count; i++) {
		uint32_t index = (driver->next + i) % driver->size, part = left;

		if (i + 1 < count)
			part = random_below(&dice, left + 1);
		*descriptor(queue, index) = (struct vring_desc){
			.addr = buffer_of(queue, index), .len = part,
			.flags = (uint16_t)(flags | (i + 1 < count ? VRING_DESC_F_NEXT : 0)),
			.next = (uint16_t)((index + 1) % driver->size),
		};
		left -= part;
	}
	driver->next += count;
	driver->free -= count;
	avail->ring[place] = driver->heads[place];
	avail->idx = ++driver->offered;
}

static char *chain_byte(uint32_t queue, uint32_t head, uint32_t at)
{
	struct vring_desc *part = descriptor(queue, head);

	while (at >= part->len) {
		at -= part->len;
		part = descriptor(queue, part->next);
	}
	return vm->memory + part->addr + at;
}

static void send_frame(void)
{
	uint32_t count = 1 + random_below(&dice, 4), length = NET_FRAME_MIN + random_below(&dice, FRAME_MAX - NET_FRAME_MIN + 1);
	struct driver *driver = &drivers[TRANSMIT];
	uint32_t head = driver->next % driver->size;

	if (driver->free < count || frames_sent - frames_out >= sizeof(sent_lengths) / 4)
		return;
	offer(TRANSMIT, count, HEADER + length, 0);
	for (uint32_t i = 0; i < HEADER + length; i++)
		*chain_byte(TRANSMIT, head, i) = i < HEADER ? 0 : (char)byte_of(frames_sent, i - HEADER);
	sent_lengths[frames_sent++ % (sizeof(sent_lengths) / 4)] = length;
	if (random_one_in(&dice, 2))
		write_register(VIRTIO_MMIO_QUEUE_NOTIFY, TRANSMIT);
}

static void offer_buffer(void)
{
	uint32_t count = 1 + random_below(&dice, 3);
	bool small;

	if (drivers[RECEIVE].free < count)
		return;
	small = !gate_stays_shut && random_one_in(&dice, 60);
	offer(RECEIVE, count, HEADER + (small ? random_below(&dice, FRAME_MAX) : FRAME_MAX), VRING_DESC_F_WRITE);
	if (random_one_in(&dice, 2))
		write_register(VIRTIO_MMIO_QUEUE_NOTIFY, RECEIVE);
}

/* The next element of a used ring: its length, or -1 when there is none. Gives the chain's descriptors back. */
static int64_t take_used(uint32_t queue, uint32_t *head)
{
	struct driver *driver = &drivers[queue];
	struct vring_used *used = (struct vring_used *)(vm->memory + places[queue].device);
	uint32_t place = driver->used % driver->size;

	if (used->idx == driver->used)
		return -1;
	*head = driver->heads[place];
	CHECK(used->ring[place].id == *head, "chain %u is given back, not %u", used->ring[place].id, *head);
	driver->free += driver->chain_lengths[place];
	driver->used++;
	return used->ring[place].len;
}

static void check_transmitted(void)
{
	uint32_t head;

	while (take_used(TRANSMIT, &head) >= 0)
		;
}

/* ---- outside ---- */

static uint32_t record_length(struct output_channel *channel, size_t at)
{
	struct iovec pieces[2];
	uint32_t length = 0;

	output_pieces(channel, at, sizeof(length), pieces);
	memcpy(&length, pieces[0].iov_base, pieces[0].iov_len);
	memcpy((char *)&length + pieces[0].iov_len, pieces[1].iov_base, pieces[1].iov_len);
	return length;
}

static void check_frame(struct output_channel *channel, uint32_t length)
{
	struct iovec pieces[2];

	output_pieces(channel, NET_RECORD_HEAD, length, pieces);
	CHECK(frames_out < frames_sent, "a frame comes out that was not sent");
	CHECK(length == sent_lengths[frames_out % (sizeof(sent_lengths) / 4)], "frame %lu has %u bytes", frames_out, length);
	for (uint32_t i = 0; i < length; i++) {
		const uint8_t *data = i < pieces[0].iov_len ? pieces[0].iov_base : pieces[1].iov_base;
		uint8_t byte = data[i < pieces[0].iov_len ? i : i - pieces[0].iov_len];

		CHECK(byte == byte_of(frames_out, i), "byte %u of frame %lu", i, frames_out);
	}
	frames_out++;
}

/* Some of what may leave leaves; `honest`: what it must be is known. */
static void let_out(bool honest)
{
	struct output_channel *channel = &vm->output.channels[OUTPUT_NET];
	size_t ready;

	while ((ready = output_ready_total(&vm->output, channel)) > 0 && !random_one_in(&dice, 30)) {
		uint32_t length = record_length(channel, 0);

		CHECK(ready >= NET_RECORD_HEAD + length, "%zu bytes may leave of a frame of %u", ready, length);
		CHECK(length >= NET_FRAME_MIN && length <= FRAME_MAX, "a frame of %u bytes", length);
		if (honest)
			check_frame(channel, length);
		output_consumed(channel, NET_RECORD_HEAD + length);
	}
	if (vm->net.transmit_waits)
		net_transmit(vm);
}

static void harvest(void)
{
	/* As much room as before, or next to none. */
	vm->marked_count = random_one_in(&dice, 4) ? DEVICE_MARKS_MAX - random_below(&dice, 16) : 0;
	if (atomic_exchange(&vm->net.marks_short, false))
		net_transmit(vm);
}

static void seal_and_acknowledge(void)
{
	if (sealed - acked < 8)
		output_mark(&vm->output, ++sealed);
	if (acked < sealed && !gate_stays_shut && random_one_in(&dice, 2))
		output_acknowledged(&vm->output, ++acked);
}

static void check_received(const struct net_frame *frame)
{
	struct virtio_net_hdr_v1 header;
	uint32_t head = 0;
	int64_t length = take_used(RECEIVE, &head);

	CHECK(length == HEADER + frame->length, "a frame of %u bytes came as %ld", frame->length, length);
	for (uint32_t i = 0; i < HEADER; i++)
		((char *)&header)[i] = *chain_byte(RECEIVE, head, i);
	CHECK(header.num_buffers == 1 && !header.flags && !header.gso_type, "its header says otherwise");
	for (uint32_t i = 0; i < frame->length; i++)
		CHECK((uint8_t)*chain_byte(RECEIVE, head, HEADER + i) == frame->bytes[i], "byte %u", i);
}

/* Whether the oldest buffer can take the frame: -1 when there is none. */
static int oldest_fits(const struct net_frame *frame)
{
	const struct driver *driver = &drivers[RECEIVE];

	if (driver->used == driver->offered)
		return -1;
	return driver->room[driver->used % driver->size] >= HEADER + frame->length;
}

/* Any, or one that just fits the oldest buffer, or just does not. */
static uint32_t frame_length(void)
{
	const struct driver *driver = &drivers[RECEIVE];
	uint32_t room = driver->room[driver->used % driver->size];

	if (driver->used != driver->offered && room > NET_FRAME_MIN + 2 * HEADER && room < HEADER + FRAME_MAX)
		return room - random_below(&dice, 2 * HEADER);
	return NET_FRAME_MIN + random_below(&dice, FRAME_MAX - NET_FRAME_MIN + 1);
}

/* A buffer that is too small stays where it is: this driver takes it back by a reset. */
static void come_in(void)
{
	static struct net_frame frame;
	int fits;

	frame.length = frame_length();
	for (uint32_t i = 0; i < frame.length; i++)
		frame.bytes[i] = byte_of(frames_in, i);
	fits = oldest_fits(&frame);
	if (!net_receive(vm, &frame, 1)) {
		CHECK(fits < 0 || atomic_load(&vm->net.marks_short), "a frame waits though there is a buffer");
		CHECK(fits >= 0 || vm->net.receive_waits, "nobody will tell that there is a buffer");
		return;
	}
	frames_in++;
	CHECK(fits >= 0, "a frame went where there was no buffer");
	if (fits)
		check_received(&frame);
	start_over = !fits;
}

static void honest_step(void)
{
	switch (random_below(&dice, 16)) {
	case 0 ... 6:
		send_frame();
		break;
	case 7 ... 9:
		offer_buffer();
		break;
	case 10 ... 11:
		come_in();
		break;
	case 12:
		harvest();
		break;
	case 13:
		let_out(true);
		break;
	default:
		seal_and_acknowledge();
		check_transmitted();
	}
}

static void finish_honest(void)
{
	output_ungate(&vm->output);
	write_register(VIRTIO_MMIO_QUEUE_NOTIFY, TRANSMIT);
	for (int i = 0; i < 1000 && frames_out < frames_sent; i++) {
		harvest();
		let_out(true);
	}
	CHECK(frames_out == frames_sent, "%lu of %lu frames came out", frames_out, frames_sent);
}

static void begin_honest(void)
{
	set_up_device();
	/* What is left of an earlier driver leaves unjudged. */
	output_ungate(&vm->output);
	while (output_ready_total(&vm->output, &vm->output.channels[OUTPUT_NET]))
		let_out(false);
	frames_sent = frames_out = 0;
	output_gate(&vm->output);
	acked = sealed;
	start_over = false;
}

static void honest_case(void)
{
	gate_stays_shut = random_one_in(&dice, 3);
	begin_honest();
	for (int i = 0; i < STEPS; i++) {
		honest_step();
		CHECK(!device->state.broken, "an honest driver's device broke");
		if (start_over)
			begin_honest();
	}
	finish_honest();
}

/* ---- a hostile driver ---- */

static void scribble(uint32_t from, uint32_t bytes)
{
	for (uint32_t i = 0; i + 8 <= bytes; i += 8) {
		uint64_t value = random_u64(&dice);

		if (random_one_in(&dice, 2))
			value &= 0x0003000300000fffull;	/* small lengths, known flags, near descriptors */
		memcpy(vm->memory + from + i, &value, 8);
	}
}

static void hostile_descriptors(uint32_t queue)
{
	for (uint32_t i = 0; i < drivers[queue].size; i++) {
		bool good = !random_one_in(&dice, 8);

		*descriptor(queue, i) = (struct vring_desc){
			.addr = good ? BUFFERS_AT + random_below(&dice, 0x80000) : MEMORY_BYTES - random_below(&dice, 64),
			.len = random_one_in(&dice, 20) ? (uint32_t)random_u64(&dice) : random_below(&dice, 2000),
			.flags = (uint16_t)(queue == RECEIVE ? VRING_DESC_F_WRITE : 0),
			.next = (uint16_t)random_below(&dice, drivers[queue].size + good),
		};
		if (random_one_in(&dice, 2))
			descriptor(queue, i)->flags |= VRING_DESC_F_NEXT;
		if (random_one_in(&dice, 30))
			descriptor(queue, i)->flags = (uint16_t)random_u64(&dice);
	}
}

static void hostile_step(void)
{
	static struct net_frame frames[4];
	uint32_t queue = random_below(&dice, 2);
	struct vring_avail *avail = (struct vring_avail *)(vm->memory + places[queue].driver);

	switch (random_below(&dice, 12)) {
	case 0 ... 2:
		avail->idx = (uint16_t)(avail->idx + random_below(&dice, random_one_in(&dice, 50) ? 65536 : 8));
		write_register(VIRTIO_MMIO_QUEUE_NOTIFY, random_below(&dice, 3));
		break;
	case 3 ... 4:
		hostile_descriptors(queue);
		break;
	case 5:
		scribble(places[queue].driver + 4, 2 * drivers[queue].size);
		break;
	case 6:
		write_register(4 * random_below(&dice, 64), (uint32_t)random_u64(&dice));
		break;
	case 7 ... 8:
		for (uint32_t i = 0; i < ARRAY_SIZE(frames); i++) {
			frames[i].length = NET_FRAME_MIN + random_below(&dice, FRAME_MAX - NET_FRAME_MIN + 1);
			frames[i].bytes[12] = random_one_in(&dice, 2) ? 0x08 : 0x86;
			frames[i].bytes[13] = frames[i].bytes[12] == 0x08 ? 0x06 : 0xdd;
		}
		CHECK(net_receive(vm, frames, ARRAY_SIZE(frames)) <= ARRAY_SIZE(frames), "more than there were");
		break;
	case 9:
		virtio_read(vm, device, random_below(&dice, 0x200), 1u << random_below(&dice, 3));
		break;
	case 10:
		vm->marked_count = 0;
		break;
	default:
		let_out(false);
	}
}

static uint32_t hostile_case(void)
{
	uint32_t broken = 0;

	set_up_device();
	output_ungate(&vm->output);
	hostile_descriptors(RECEIVE);
	hostile_descriptors(TRANSMIT);
	for (int i = 0; i < STEPS; i++) {
		hostile_step();
		if (!device->state.broken)
			continue;
		CHECK(!virtio_ready(device, RECEIVE) && !virtio_ready(device, TRANSMIT), "a broken device goes on");
		broken++;
		set_up_device();
	}
	while (output_ready_total(&vm->output, &vm->output.channels[OUTPUT_NET]))
		let_out(false);
	return broken;
}

int main(int argc, char **argv)
{
	const uint8_t mac[NET_MAC_BYTES] = MAC;
	uint64_t cases = argument_or(argc, argv, 2, 90), broken = 0, in = 0;

	dice.state = argument_or(argc, argv, 1, 1);
	vm = stub_machine_make(MEMORY_BYTES);
	vm->marking = true;
	vm->net.mtu = MTU;
	memcpy(vm->net.mac, mac, sizeof(mac));
	device = &vm->virtio[VIRTIO_NET];
	device->kind = &net_kind;
	for (case_number = 0; case_number < cases; case_number++) {
		vm->marked_count = 0;
		if (case_number % 3 == 2)
			broken += hostile_case();
		else
			honest_case();
		in += frames_in;
		frames_in = 0;
	}
	CHECK(vm->output.channels[OUTPUT_NET].head > 8 * OUTPUT_RING_BYTES, "the ring went round %lu times",
	      vm->output.channels[OUTPUT_NET].head / OUTPUT_RING_BYTES);
	CHECK(broken > cases && in > cases && input_wakes, "broken %lu times, %lu frames came in, %u wakes", broken, in,
	      input_wakes);
	stub_machine_free(vm);
	return 0;
}
