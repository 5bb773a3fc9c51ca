/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The thread that executes a VM's disk requests, one after the other, outside
 * vm->devices, and what becomes of what it wrote (docs/DISK.md).
 */
#ifndef FTD_DISK_H
#define FTD_DISK_H

#include <pthread.h>

#include "base.h"
#include "block.h"
#include "disk_log.h"
#include "tracker.h"

struct ftd_vm;

/* Of data at once: what bounds the time that vm->devices is held, and the room that a log must have. */
#define DISK_PIECE_BYTES (128u << 10)
#define DISK_BLOCK_SHIFT 16		/* of the first synchronisation's bitmap: 64 KiB */
#define DISK_BLOCK_BYTES ((uint64_t)1 << DISK_BLOCK_SHIFT)
#define DISK_ID_BYTES 20

static inline uint64_t disk_map_words(uint64_t disk_bytes)
{
	return (((disk_bytes + DISK_BLOCK_BYTES - 1) >> DISK_BLOCK_SHIFT) + 63) / 64;
}

enum disk_room { ROOM_FOR_MARKS = 1, ROOM_IN_LOG = 2 };
enum disk_mode { DISK_PLAIN, DISK_TRACK, DISK_LOG };

struct disk {
	struct ftd_vm *vm;
	int fd;
	uint64_t bytes;
	char id[DISK_ID_BYTES];
	pthread_t thread;
	bool started;
	_Atomic bool stop;
	_Atomic uint32_t work;		/* futex: the driver offered requests */
	_Atomic uint32_t room;		/* futex: marks were harvested, the log was sealed, or the mode changed */
	_Atomic uint32_t room_wanted;	/* enum disk_room */
	struct block_request request;	/* the thread's own, as `piece` */
	char *piece;
	/* vm->devices is held: */
	uint32_t resets;		/* by the driver: a request from before one is not given back */
	enum disk_mode mode;
	struct sync_bitmap *blocks;	/* DISK_TRACK */
	struct sync_bitmap watched;	/* ftd_vm_disk_watch's map, until a pair takes it over */
	struct disk_log log;		/* DISK_LOG: of the epoch that is not sealed yet */
};

/* The disk of `config`, whose descriptor it takes over; nothing if it has none. 0 or -1 with *error. */
int disk_open(struct ftd_vm *vm, const ftd_vm_config *config, ftd_error *error);
void disk_close(struct ftd_vm *vm);
int disk_start(struct ftd_vm *vm, ftd_error *error);
/* Returns when the request in work has been given up or executed: the disk is not touched after it. */
void disk_stop(struct ftd_vm *vm);
/* After disk_detach, when the pair is freed: the log that the disk was left with. */
void disk_release_log(struct ftd_vm *vm);

/* All that follow: vm->devices is held, and do nothing for a VM without a disk. */
void disk_notify(struct ftd_vm *vm);
void disk_reset(struct ftd_vm *vm);
/* What is written from here on shows in `blocks`. */
void disk_track(struct ftd_vm *vm, struct sync_bitmap *blocks);
/* What was watched and is tracked further, in `blocks` for its own map; false, and nothing is done, if nothing was. */
bool disk_take_watched(struct ftd_vm *vm, struct sync_bitmap *blocks);
/* Takes over an empty log, for what is written from here on. */
void disk_begin_log(struct ftd_vm *vm, struct disk_log *log);
/* The log of the epoch that is being sealed, for an empty one. */
void disk_seal(struct ftd_vm *vm, struct disk_log *log);
/* Unprotected from here on. */
void disk_detach(struct ftd_vm *vm);
/*
 * There is room again for a request that waits for it. One that waits for the other is not woken: while epoch 1 is not
 * sealed yet, each stop takes the marks and leaves the log full, and who is woken for nothing asks for the next stop.
 */
void disk_room_made(struct ftd_vm *vm, enum disk_room what);

#endif
