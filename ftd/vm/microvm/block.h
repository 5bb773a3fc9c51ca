/* SPDX-License-Identifier: Apache-2.0 */
/*
 * virtio block device, section 5.2 of the specification: what a request asks
 * for. ftd/dataplane/disk.c executes it. All functions are called with
 * vm->devices held.
 */
#ifndef FTD_BLOCK_H
#define FTD_BLOCK_H

#include "virtio.h"

#define BLOCK_SECTOR_BYTES 512ull
#define BLOCK_STATUS_ERROR 1	/* VIRTIO_BLK_S_IOERR */
#define BLOCK_RANGES_MAX 16u		/* of one DISCARD or WRITE_ZEROES */
#define BLOCK_RANGE_SECTORS_MAX (1u << 21)	/* 1 GiB: its length in bytes fits a record */

enum block_operation { BLOCK_READ, BLOCK_WRITE, BLOCK_FLUSH, BLOCK_DISCARD, BLOCK_ZEROES, BLOCK_ID, BLOCK_NOTHING };

struct block_request {
	struct virtio_chain chain;
	enum block_operation operation;	/* BLOCK_NOTHING: refused, only the status is to be told */
	uint8_t status;
	uint32_t resets;	/* of the device, when it was taken */
	uint64_t offset, length;	/* bytes on the disk: READ, WRITE */
	uint32_t range_count;	/* DISCARD, ZEROES */
	struct block_range {
		uint64_t offset, length;
		bool unmap;
	} ranges[BLOCK_RANGES_MAX];
};

extern const struct virtio_kind block_kind;

/* The oldest request that was not given back; false: there is none. */
bool block_next(struct ftd_vm *vm, struct block_request *request);
bool block_copy_in(struct ftd_vm *vm, const struct block_request *request, uint64_t at, void *to, uint64_t length);
/* False: no room to mark the pages. */
bool block_copy_out(struct ftd_vm *vm, const struct block_request *request, uint64_t at, const void *from,
		    uint64_t length);
/* Writes the status and gives the chain back. There is room to mark virtio_chain_pages(0, 1). */
void block_finish(struct ftd_vm *vm, const struct block_request *request);
/* Whether the driver negotiated FLUSH; if it did not, it takes every write for durable. */
bool block_flushes(const struct ftd_vm *vm);

#endif
