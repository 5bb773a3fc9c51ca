/* SPDX-License-Identifier: Apache-2.0 */
#include "block.h"

#include <linux/virtio_blk.h>
#include <linux/virtio_ids.h>
#include <string.h>

#include "devices.h"
#include "disk.h"
#include "vm.h"

#define UNMAP ((uint32_t)VIRTIO_BLK_WRITE_ZEROES_FLAG_UNMAP)
#define QUEUE_ENTRIES 128u
#define SEGMENTS_MAX (QUEUE_ENTRIES - 2)	/* header and status take a descriptor each */

static bool refuse(struct block_request *request, uint8_t status)
{
	request->operation = BLOCK_NOTHING;
	request->status = status;
	return true;
}

static bool is_on_disk(const struct ftd_vm *vm, uint64_t sector, uint64_t sectors)
{
	uint64_t all = vm->disk->bytes / BLOCK_SECTOR_BYTES;

	return sector <= all && sectors <= all - sector;
}

static bool take_transfer(const struct ftd_vm *vm, struct block_request *request, enum block_operation operation,
			  uint64_t sector, uint64_t length)
{
	if (length % BLOCK_SECTOR_BYTES || !is_on_disk(vm, sector, length / BLOCK_SECTOR_BYTES))
		return refuse(request, VIRTIO_BLK_S_IOERR);
	request->operation = operation;
	request->offset = sector * BLOCK_SECTOR_BYTES;
	request->length = length;
	return true;
}

static bool take_ranges(struct ftd_vm *vm, struct block_request *request, enum block_operation operation,
			uint64_t length)
{
	struct virtio_blk_discard_write_zeroes asked[BLOCK_RANGES_MAX];

	if (!length || length % sizeof(asked[0]) || length > sizeof(asked) ||
	    !virtio_copy_in(vm, &request->chain, sizeof(struct virtio_blk_outhdr), asked, length))
		return refuse(request, VIRTIO_BLK_S_IOERR);
	request->range_count = (uint32_t)(length / sizeof(asked[0]));
	for (uint32_t i = 0; i < request->range_count; i++) {
		bool unmap = asked[i].flags & UNMAP;

		if ((asked[i].flags & ~UNMAP) || (unmap && operation == BLOCK_DISCARD))
			return refuse(request, VIRTIO_BLK_S_UNSUPP);
		if (!asked[i].num_sectors || asked[i].num_sectors > BLOCK_RANGE_SECTORS_MAX ||
		    !is_on_disk(vm, asked[i].sector, asked[i].num_sectors))
			return refuse(request, VIRTIO_BLK_S_IOERR);
		request->ranges[i] = (struct block_range){ asked[i].sector * BLOCK_SECTOR_BYTES,
							   asked[i].num_sectors * BLOCK_SECTOR_BYTES, unmap };
	}
	request->operation = operation;
	return true;
}

/* False: nothing of it can be answered. */
static bool parse(struct ftd_vm *vm, struct block_request *request)
{
	struct virtio_blk_outhdr header;
	uint64_t out, in;

	if (!request->chain.writable || !virtio_copy_in(vm, &request->chain, 0, &header, sizeof(header)))
		return false;
	out = request->chain.readable - sizeof(header);
	in = request->chain.writable - 1;	/* the last byte takes the status */
	request->status = VIRTIO_BLK_S_OK;
	switch (header.type) {
	case VIRTIO_BLK_T_IN:
		return take_transfer(vm, request, BLOCK_READ, header.sector, in);
	case VIRTIO_BLK_T_OUT:
		return take_transfer(vm, request, BLOCK_WRITE, header.sector, out);
	case VIRTIO_BLK_T_FLUSH:
		request->operation = BLOCK_FLUSH;
		return true;
	case VIRTIO_BLK_T_DISCARD:
		return take_ranges(vm, request, BLOCK_DISCARD, out);
	case VIRTIO_BLK_T_WRITE_ZEROES:
		return take_ranges(vm, request, BLOCK_ZEROES, out);
	case VIRTIO_BLK_T_GET_ID:
		request->operation = BLOCK_ID;
		request->length = min_u64(in, DISK_ID_BYTES);
		return true;
	default:
		return refuse(request, VIRTIO_BLK_S_UNSUPP);
	}
}

bool block_next(struct ftd_vm *vm, struct block_request *request)
{
	struct virtio_device *device = &vm->virtio[VIRTIO_DISK];

	if (!virtio_ready(device, 0) || virtio_peek(vm, device, 0, 0, &request->chain) <= 0)
		return false;
	request->resets = vm->disk->resets;
	if (parse(vm, request))
		return true;
	virtio_break(device);
	return false;
}

bool block_copy_in(struct ftd_vm *vm, const struct block_request *request, uint64_t at, void *to, uint64_t length)
{
	return virtio_copy_in(vm, &request->chain, sizeof(struct virtio_blk_outhdr) + at, to, length);
}

bool block_copy_out(struct ftd_vm *vm, const struct block_request *request, uint64_t at, const void *from,
		    uint64_t length)
{
	return virtio_copy_out(vm, &request->chain, at, from, length);
}

void block_finish(struct ftd_vm *vm, const struct block_request *request)
{
	struct virtio_device *device = &vm->virtio[VIRTIO_DISK];
	uint64_t data = request->operation == BLOCK_READ || request->operation == BLOCK_ID ? request->length : 0;

	if (!virtio_ready(device, 0))
		return;
	if (!virtio_copy_out(vm, &request->chain, request->chain.writable - 1, &request->status, 1)) {
		virtio_break(device);
		return;
	}
	virtio_give_back(vm, device, 0, request->chain.head, (uint32_t)min_u64(data + 1, UINT32_MAX));
	virtio_interrupt(vm, device, 0);
}

bool block_flushes(const struct ftd_vm *vm)
{
	return vm->virtio[VIRTIO_DISK].state.driver_features[0] & (1u << VIRTIO_BLK_F_FLUSH);
}

static uint8_t config(const struct ftd_vm *vm, uint32_t offset)
{
	const struct virtio_blk_config all = {
		.capacity = vm->disk->bytes / BLOCK_SECTOR_BYTES, .seg_max = SEGMENTS_MAX,
		.blk_size = BLOCK_SECTOR_BYTES, .max_discard_sectors = BLOCK_RANGE_SECTORS_MAX,
		.max_discard_seg = BLOCK_RANGES_MAX, .discard_sector_alignment = 1,
		.max_write_zeroes_sectors = BLOCK_RANGE_SECTORS_MAX, .max_write_zeroes_seg = BLOCK_RANGES_MAX,
		.write_zeroes_may_unmap = 1,
	};

	return offset < sizeof(all) ? ((const uint8_t *)&all)[offset] : 0;
}

static void notified(struct ftd_vm *vm, uint32_t queue)
{
	(void)queue;
	disk_notify(vm);
}

const struct virtio_kind block_kind = {
	.name = "disk", .id = VIRTIO_ID_BLOCK, .irq = DISK_IRQ, .queues = 1, .queue_size_max = QUEUE_ENTRIES,
	.features = 1ull << VIRTIO_BLK_F_SEG_MAX | 1ull << VIRTIO_BLK_F_BLK_SIZE | 1ull << VIRTIO_BLK_F_FLUSH |
		    1ull << VIRTIO_BLK_F_DISCARD | 1ull << VIRTIO_BLK_F_WRITE_ZEROES,
	.notify = notified, .reset = disk_reset, .config = config,
};
