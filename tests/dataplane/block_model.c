/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The disk device against a driver of our own. Each request of an honest driver
 * is understood as the specification says (section 5.2.6), however it is cut
 * into buffers, also one that asks for what cannot be: it is answered once, with
 * the right status, length and data. What a hostile driver asks for stays on the
 * disk and in the guest's memory, and breaks its device at worst.
 *
 * block_model SEED CASES: every third case is a hostile one.
 */
#include <linux/virtio_blk.h>
#include <linux/virtio_mmio.h>
#include <linux/virtio_ring.h>

#include "block.h"
#include "check.h"
#include "disk.h"
#include "stub_guest.h"
#include "stub_machine.h"

#define MEMORY_BYTES (1u << 20)
#define DISK_SECTORS 130u
#define DISK_BYTES (DISK_SECTORS * 512u)
#define PIECE_BYTES 4096u
#define DESCRIPTORS_AT 0x1000u
#define OFFERS_AT 0x3000u
#define USED_AT 0x4000u
#define BUFFERS_AT 0x10000u
#define SLOT_BYTES 0x1800u	/* of guest memory, for each descriptor */
#define DATA_MAX (16u * 512u)
#define STEPS 3000
#define ID "a disk of twenty.chars"

static struct ftd_vm *vm;
static struct virtio_device *device;
static struct disk disk;
static struct random dice;
static uint8_t contents[DISK_BYTES];	/* of the disk; the test is its driver and its disk thread */
static uint32_t notified;

/* ---- what the device calls of the machine ---- */

void disk_notify(struct ftd_vm *machine)
{
	(void)machine;
	notified++;
}

void disk_reset(struct ftd_vm *machine)
{
	machine->disk->resets++;
}

/* ---- what the disk's thread does with a request ---- */

/* As much room as it waits for, and no more. */
static void make_room(uint32_t pages)
{
	vm->marked_count = DEVICE_MARKS_MAX - pages;
}

static void check_request(const struct block_request *request)
{
	if (request->operation == BLOCK_READ || request->operation == BLOCK_WRITE)
		CHECK(request->offset <= DISK_BYTES && request->length <= DISK_BYTES - request->offset,
		      "%lu bytes at %lu", request->length, request->offset);
	if (request->operation == BLOCK_ID)
		CHECK(request->length <= DISK_ID_BYTES, "an id of %lu bytes", request->length);
	if (request->operation != BLOCK_DISCARD && request->operation != BLOCK_ZEROES)
		return;
	CHECK(request->range_count >= 1 && request->range_count <= BLOCK_RANGES_MAX, "%u ranges", request->range_count);
	for (uint32_t i = 0; i < request->range_count; i++)
		CHECK(request->ranges[i].length && request->ranges[i].offset <= DISK_BYTES &&
			      request->ranges[i].length <= DISK_BYTES - request->ranges[i].offset,
		      "%lu bytes at %lu", request->ranges[i].length, request->ranges[i].offset);
}

static void move_data(const struct block_request *request)
{
	for (uint64_t at = 0; at < request->length; at += PIECE_BYTES) {
		uint64_t part = min_u64(request->length - at, PIECE_BYTES);
		bool moved;

		make_room(virtio_chain_pages(part, request->chain.count));
		moved = request->operation == BLOCK_READ ?
				block_copy_out(vm, request, at, contents + request->offset + at, part) :
				block_copy_in(vm, request, at, contents + request->offset + at, part);
		CHECK(moved, "%lu bytes at %lu of the request", part, at);
	}
}

static void execute(const struct block_request *request)
{
	check_request(request);
	switch (request->operation) {
	case BLOCK_READ:
	case BLOCK_WRITE:
		move_data(request);
		break;
	case BLOCK_DISCARD:
	case BLOCK_ZEROES:
		for (uint32_t i = 0; i < request->range_count; i++)
			memset(contents + request->ranges[i].offset, 0, request->ranges[i].length);
		break;
	case BLOCK_ID:
		make_room(virtio_chain_pages(DISK_ID_BYTES, request->chain.count));
		CHECK(block_copy_out(vm, request, 0, ID, request->length), "the id");
		break;
	default:
		break;
	}
	make_room(virtio_chain_pages(0, 1));
	block_finish(vm, request);
}

static bool execute_next(void)
{
	static struct block_request request;

	if (!block_next(vm, &request))
		return false;
	execute(&request);
	return true;
}

/* ---- an honest driver ---- */

static uint32_t queue_size;
static uint16_t offered, used;

static void write_register(uint32_t offset, uint32_t value)
{
	virtio_write(vm, device, offset, 4, value);
}

static void set_up_device(void)
{
	memset(vm->memory, 0, vm->memory_bytes);
	queue_size = 1u << (4 + random_below(&dice, 4));
	offered = used = 0;
	write_register(VIRTIO_MMIO_STATUS, 0);
	write_register(VIRTIO_MMIO_STATUS, 11);
	write_register(VIRTIO_MMIO_QUEUE_SEL, 0);
	write_register(VIRTIO_MMIO_QUEUE_NUM, queue_size);
	write_register(VIRTIO_MMIO_QUEUE_DESC_LOW, DESCRIPTORS_AT);
	write_register(VIRTIO_MMIO_QUEUE_AVAIL_LOW, OFFERS_AT);
	write_register(VIRTIO_MMIO_QUEUE_USED_LOW, USED_AT);
	write_register(VIRTIO_MMIO_QUEUE_READY, 1);
	write_register(VIRTIO_MMIO_STATUS, 15);
}

static struct vring_desc *descriptor(uint32_t index)
{
	return (struct vring_desc *)(vm->memory + DESCRIPTORS_AT) + index % queue_size;
}

/* A request as it lies in guest memory, cut into descriptors 0 to count - 1. */
struct asked {
	uint32_t count;
	uint32_t data_len, in_len;	/* what the device reads past the header, and may write before the status */
	struct virtio_blk_outhdr header;
	uint8_t data[DATA_MAX];
	uint8_t status;			/* expected */
	uint32_t written;		/* likewise, with the status */
	uint8_t *status_at;
};

/* Adds buffers of `length` bytes in all; the device reads `from` out of them. */
static void add(struct asked *asked, uint32_t length, const uint8_t *from, uint16_t flags)
{
	uint32_t at = 0;

	while (at < length || (at == 0 && length == 0 && random_one_in(&dice, 4))) {
		uint32_t left = length - at, part = left;

		if (asked->count + 4 < queue_size && random_one_in(&dice, 2))
			part = random_below(&dice, left + 1);
		part = part < SLOT_BYTES - 8 ? part : SLOT_BYTES - 8;
		*descriptor(asked->count) = (struct vring_desc){
			.addr = BUFFERS_AT + asked->count * SLOT_BYTES + asked->count % 7, .len = part,
			.flags = (uint16_t)(flags | VRING_DESC_F_NEXT), .next = (uint16_t)(asked->count + 1),
		};
		if (from)
			memcpy(vm->memory + descriptor(asked->count)->addr, from + at, part);
		asked->count++;
		at += part;
		if (!length)
			return;
	}
}

static uint8_t *writable_byte(const struct asked *asked, uint32_t at)
{
	for (uint32_t i = 0; i < asked->count; i++) {
		const struct vring_desc *part = descriptor(i);

		if (!(part->flags & VRING_DESC_F_WRITE))
			continue;
		if (at < part->len)
			return (uint8_t *)vm->memory + part->addr + at;
		at -= part->len;
	}
	CHECK(false, "byte %u of the buffers", at);
	return NULL;
}

static void transfer(struct asked *asked, uint32_t *length)
{
	uint32_t sectors = random_below(&dice, 17);

	*length = sectors * 512;
	asked->header.sector = random_below(&dice, DISK_SECTORS - sectors + 1);
	switch (random_below(&dice, 12)) {
	case 0:
		*length = random_below(&dice, DATA_MAX + 1);
		break;
	case 1:
		asked->header.sector = DISK_SECTORS - sectors + random_below(&dice, 3);
		break;
	case 2:
		asked->header.sector = random_u64(&dice) >> random_below(&dice, 64);
		break;
	default:
		break;
	}
	if (*length % 512 || asked->header.sector > DISK_SECTORS || *length / 512 > DISK_SECTORS - asked->header.sector)
		asked->status = VIRTIO_BLK_S_IOERR;
}

static uint8_t range_status(uint32_t type, const struct virtio_blk_discard_write_zeroes *range)
{
	if (range->flags > 1 || (range->flags && type == VIRTIO_BLK_T_DISCARD))
		return VIRTIO_BLK_S_UNSUPP;
	return range->num_sectors && range->sector <= DISK_SECTORS && range->num_sectors <= DISK_SECTORS - range->sector ?
		       VIRTIO_BLK_S_OK : VIRTIO_BLK_S_IOERR;
}

static void ranges(struct asked *asked)
{
	uint32_t count = 1 + random_below(&dice, random_one_in(&dice, 8) ? 24 : 4);

	asked->data_len = count * (uint32_t)sizeof(struct virtio_blk_discard_write_zeroes);
	for (uint32_t i = 0; i < count; i++) {
		struct virtio_blk_discard_write_zeroes range = { .num_sectors = random_below(&dice, 9) + !random_one_in(&dice, 9) };

		range.sector = random_below(&dice, DISK_SECTORS - range.num_sectors + 1 + (random_one_in(&dice, 9) ? 2 : 0));
		if (random_one_in(&dice, 6))
			range.flags = random_one_in(&dice, 4) ? (uint32_t)random_u64(&dice) : 1;
		if (asked->status == VIRTIO_BLK_S_OK)
			asked->status = range_status(asked->header.type, &range);
		memcpy(asked->data + i * sizeof(range), &range, sizeof(range));
	}
	if (random_one_in(&dice, 12))
		asked->data_len = random_below(&dice, asked->data_len + 1);
	if (!asked->data_len || asked->data_len % 16 || asked->data_len > 16 * BLOCK_RANGES_MAX)
		asked->status = VIRTIO_BLK_S_IOERR;
	else if (asked->data_len < 16 * count) {	/* cut after a whole range: only those count */
		asked->status = VIRTIO_BLK_S_OK;
		for (uint32_t i = 0; i < asked->data_len / 16 && asked->status == VIRTIO_BLK_S_OK; i++) {
			struct virtio_blk_discard_write_zeroes range;

			memcpy(&range, asked->data + 16 * i, sizeof(range));
			asked->status = range_status(asked->header.type, &range);
		}
	}
}

/* A request that may or may not be one that can be; and what must become of it. */
static void choose(struct asked *asked)
{
	static const uint32_t types[] = { VIRTIO_BLK_T_IN, VIRTIO_BLK_T_OUT, VIRTIO_BLK_T_FLUSH, VIRTIO_BLK_T_DISCARD,
					  VIRTIO_BLK_T_WRITE_ZEROES, VIRTIO_BLK_T_GET_ID };

	memset(asked, 0, sizeof(*asked));
	asked->header.type = random_one_in(&dice, 20) ? 14 + random_below(&dice, 100) :
							types[random_below(&dice, ARRAY_SIZE(types))];
	asked->status = VIRTIO_BLK_S_OK;
	for (uint32_t i = 0; i < DATA_MAX; i++)
		asked->data[i] = (uint8_t)random_u64(&dice);
	switch (asked->header.type) {
	case VIRTIO_BLK_T_IN:
		transfer(asked, &asked->in_len);
		asked->written = asked->in_len;
		break;
	case VIRTIO_BLK_T_OUT:
		transfer(asked, &asked->data_len);
		break;
	case VIRTIO_BLK_T_DISCARD:
	case VIRTIO_BLK_T_WRITE_ZEROES:
		ranges(asked);
		break;
	case VIRTIO_BLK_T_GET_ID:
		asked->in_len = random_below(&dice, 40);
		asked->written = asked->in_len < DISK_ID_BYTES ? asked->in_len : DISK_ID_BYTES;
		break;
	case VIRTIO_BLK_T_FLUSH:
		break;
	default:
		asked->status = VIRTIO_BLK_S_UNSUPP;
	}
	if (asked->status != VIRTIO_BLK_S_OK)
		asked->written = 0;
	asked->written++;
}

static void offer(struct asked *asked)
{
	struct vring_avail *avail = (struct vring_avail *)(vm->memory + OFFERS_AT);

	add(asked, sizeof(asked->header), (const uint8_t *)&asked->header, 0);
	add(asked, asked->data_len, asked->data, 0);
	add(asked, asked->in_len, NULL, VRING_DESC_F_WRITE);
	add(asked, 1, NULL, VRING_DESC_F_WRITE);
	descriptor(asked->count - 1)->flags &= (uint16_t)~VRING_DESC_F_NEXT;
	asked->status_at = writable_byte(asked, asked->in_len);
	*asked->status_at = 0xff;
	avail->ring[offered % queue_size] = 0;
	avail->idx = ++offered;
	write_register(VIRTIO_MMIO_QUEUE_NOTIFY, 0);
}

static void model_request(const struct asked *asked, uint8_t *model)
{
	if (asked->status != VIRTIO_BLK_S_OK)
		return;
	if (asked->header.type == VIRTIO_BLK_T_OUT)
		memcpy(model + asked->header.sector * 512, asked->data, asked->data_len);
	if (asked->header.type != VIRTIO_BLK_T_DISCARD && asked->header.type != VIRTIO_BLK_T_WRITE_ZEROES)
		return;
	for (uint32_t i = 0; i < asked->data_len / 16; i++) {
		struct virtio_blk_discard_write_zeroes range;

		memcpy(&range, asked->data + 16 * i, sizeof(range));
		memset(model + range.sector * 512, 0, range.num_sectors * 512ul);
	}
}

static void check_answer(const struct asked *asked, const uint8_t *model)
{
	const struct vring_used *ring = (const struct vring_used *)(vm->memory + USED_AT);
	const struct vring_used_elem *answer = &ring->ring[used % queue_size];

	CHECK(ring->idx == (uint16_t)(used + 1), "%u answers", (uint16_t)(ring->idx - used));
	used++;
	CHECK(answer->id == 0 && answer->len == asked->written, "type %u: chain %u with %u bytes, not %u",
	      asked->header.type, answer->id, answer->len, asked->written);
	CHECK(*asked->status_at == asked->status, "type %u: status %u, not %u", asked->header.type, *asked->status_at,
	      asked->status);
	CHECK(memcmp(contents, model, DISK_BYTES) == 0, "type %u: the disk", asked->header.type);
	for (uint32_t i = 0; i + 1 < asked->written; i++) {
		uint8_t right = asked->header.type == VIRTIO_BLK_T_IN ? model[asked->header.sector * 512 + i] : (uint8_t)ID[i];

		CHECK(*writable_byte(asked, i) == right, "type %u: byte %u", asked->header.type, i);
	}
}

static void honest_case(uint64_t *refused)
{
	static uint8_t model[DISK_BYTES];
	static struct asked asked;

	set_up_device();
	memcpy(model, contents, DISK_BYTES);
	for (int i = 0; i < STEPS / 10; i++) {
		choose(&asked);
		offer(&asked);
		model_request(&asked, model);
		CHECK(execute_next(), "a request was overlooked");
		CHECK(!device->state.broken, "an honest driver's device broke");
		check_answer(&asked, model);
		CHECK(!execute_next(), "a request was taken twice");
		*refused += asked.status != VIRTIO_BLK_S_OK;
	}
}

/* ---- a hostile driver ---- */

static void hostile_descriptors(void)
{
	for (uint32_t i = 0; i < queue_size; i++) {
		bool good = !random_one_in(&dice, 16);
		struct virtio_blk_outhdr header = { .type = random_below(&dice, 16), .sector = random_below(&dice, DISK_SECTORS) };

		*descriptor(i) = (struct vring_desc){
			.addr = good ? BUFFERS_AT + random_below(&dice, 0x80000) : MEMORY_BYTES - random_below(&dice, 64),
			.len = random_one_in(&dice, 30) ? (uint32_t)random_u64(&dice) : 512 * random_below(&dice, 5) +
						random_below(&dice, 3) * 8,
			.flags = (uint16_t)((random_one_in(&dice, 2) ? VRING_DESC_F_NEXT : 0) |
					    (random_one_in(&dice, 2) ? VRING_DESC_F_WRITE : 0)),
			.next = (uint16_t)random_below(&dice, queue_size + good),
		};
		if (good)
			memcpy(vm->memory + descriptor(i)->addr, &header, sizeof(header));
		if (random_one_in(&dice, 40))
			descriptor(i)->flags = (uint16_t)random_u64(&dice);
	}
}

static void hostile_step(void)
{
	struct vring_avail *avail = (struct vring_avail *)(vm->memory + OFFERS_AT);

	switch (random_below(&dice, 8)) {
	case 0 ... 2:
		avail->ring[avail->idx % queue_size] = (uint16_t)random_below(&dice, queue_size + random_one_in(&dice, 50));
		avail->idx = (uint16_t)(avail->idx + (random_one_in(&dice, 100) ? random_below(&dice, 65536) : 1));
		break;
	case 3:
		hostile_descriptors();
		break;
	case 4:
		write_register(4 * random_below(&dice, 64), (uint32_t)random_u64(&dice));
		break;
	case 5:
		virtio_read(vm, device, random_below(&dice, 0x200), 1u << random_below(&dice, 3));
		break;
	default:
		execute_next();
	}
}

static void hostile_case(uint64_t *broken, uint64_t *answered)
{
	set_up_device();
	hostile_descriptors();
	for (int i = 0; i < STEPS; i++) {
		uint16_t before = device->state.queues[0].next_used;

		hostile_step();
		*answered += device->state.queues[0].next_used != before;
		if (!device->state.broken)
			continue;
		CHECK(!virtio_ready(device, 0) && !execute_next(), "a broken device goes on");
		(*broken)++;
		set_up_device();
		hostile_descriptors();
	}
}

int main(int argc, char **argv)
{
	uint64_t cases = argument_or(argc, argv, 2, 90), broken = 0, answered = 0, refused = 0;

	dice.state = argument_or(argc, argv, 1, 1);
	vm = stub_machine_make(MEMORY_BYTES);
	vm->marking = true;
	vm->disk = &disk;
	disk.bytes = DISK_BYTES;
	device = &vm->virtio[VIRTIO_DISK];
	device->kind = &block_kind;
	for (case_number = 0; case_number < cases; case_number++) {
		if (case_number % 3 == 2)
			hostile_case(&broken, &answered);
		else
			honest_case(&refused);
	}
	CHECK(refused > cases && broken > cases && answered > cases && notified, "refused %lu, broken %lu, answered %lu",
	      refused, broken, answered);
	stub_machine_free(vm);
	return 0;
}
