/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The machine: memory, vCPU threads and the place where they stop together.
 *
 * Locks, outermost first:
 *   vm->control    one control thread at a time (pause, enter, leave ...); never taken by a vCPU
 *   vm->parking    whether vCPUs are parked, and handing a command to them
 *   vm->devices    device state and the device model's dirty marks
 * The cycle takes only vm->devices.
 */
#ifndef FTD_VM_H
#define FTD_VM_H

#include <linux/kvm.h>
#include <pthread.h>
#include <signal.h>
#include <sys/types.h>

#include "base.h"
#include "clocks.h"
#include "devices.h"
#include "events.h"
#include "net.h"
#include "output.h"
#include "share.h"
#include "state.h"
#include "tracker.h"

#define VCPUS_MAX 8
#define VCPU_SIGNAL (SIGRTMIN + 4)
#define DEVICE_MARKS_MAX 4096

struct disk;
struct ftd_primary;

struct vcpu {
	struct ftd_vm *vm;
	uint32_t index;
	int fd;
	struct kvm_run *run;
	size_t run_size;
	pthread_t thread;
	bool thread_started;
	_Atomic pid_t tid;
	timer_t timer;
	bool timer_made;
	uint64_t armed_for_ns;		/* tick that the timer is set to; 0: disarmed */
	_Atomic int processor;		/* where its thread ran at the last stop; -1: not known */
	_Atomic bool stopped;		/* at the stop point: nobody needs to kick it */
	bool finished;			/* shut down or failed: takes part in stops, runs no more */
	uint64_t left_guest_ns;		/* when KVM_RUN returned for this stop */
	struct vcpu_clock clock;	/* from a checkpoint, until it runs */
	/* dirty ring, mapped when the tracker is `ring` */
	struct kvm_dirty_gfn *ring;
	uint32_t ring_next;
};

/* What vCPUs do when they all stand at the stop point. Changed only there, by the leader. */
enum vm_mode {
	MODE_PLAIN,		/* nothing: unprotected */
	MODE_SYNC,		/* learn dirty pages for the first synchronisation */
	MODE_CYCLE,		/* seal an epoch */
	MODE_MUTE,		/* nothing, and output is held: leaving */
};

/* STOP_LIST_FULL: the dirty-page threshold, whatever the tracker calls it. */
enum stop_request { STOP_TICK = 1, STOP_COMMAND = 2, STOP_LIST_FULL = 4 };

typedef int (*vm_command)(struct ftd_vm *vm, void *argument);

struct ftd_vm {
	int kvm_fd, fd, memory_fd;
	char *memory;
	uint64_t memory_bytes, pages;
	uint32_t vcpu_count;
	bool irqchip;
	struct vcpu vcpus[VCPUS_MAX];

	const struct tracker *tracker;
	uint32_t ring_entries;
	uint32_t ring_harvested;	/* entries of all rings that have to be reset */
	uint64_t *kernel_bitmap;	/* `bitmap`: one bit a page */
	size_t kernel_bitmap_bytes;
	struct mt *mt;			/* `mt` */
	bool logging;			/* between vm_begin_tracking and vm_end_tracking */

	struct state *state;
	struct clocks clocks;

	/* stop point */
	_Atomic uint32_t requests;	/* enum stop_request */
	_Atomic uint32_t arrived;
	_Atomic uint32_t news;		/* futex: a stop ended, or work to share was posted */
	_Atomic uint32_t stops;		/* number of stops ended */
	_Atomic bool dying;
	struct share_job job;
	enum vm_mode mode;
	struct ftd_primary *primary;
	_Atomic uint64_t next_tick_ns;	/* 0: no timer */

	pthread_mutex_t control;
	pthread_mutex_t parking;
	pthread_cond_t command_done, unpark;
	bool parked, park_wanted;	/* park_wanted: set at the stop point, for the leader */
	bool running;
	vm_command command;
	void *command_argument;
	int command_result;

	pthread_mutex_t devices;
	struct serial serial;
	uint32_t serial_line;		/* level of its interrupt line, as KVM was told */
	struct power power;
	struct virtio_device virtio[VIRTIO_DEVICES];
	struct disk *disk;	/* NULL: the machine has none */
	uint64_t *marked_bitmap;	/* pages written by the device model since the last harvest */
	uint64_t marked[DEVICE_MARKS_MAX];
	uint32_t marked_count;
	bool marking;
	bool transmit_waits;	/* the guest's output did not fit the ring */
	struct net net;

	struct output output;
	struct io *io;
	struct event_queue events;
	ftd_counters *counters;
};

/* vm.c */
/* With all vCPUs out of the guest; 0 or -errno. */
int vm_begin_tracking(struct ftd_vm *vm, const struct tracker_limits *limits);
int vm_end_tracking(struct ftd_vm *vm);
/* For trackers: gives KVM the memory slots anew, with or without KVM_MEM_LOG_DIRTY_PAGES. 0 or -errno. */
int vm_set_slots(struct ftd_vm *vm, bool log);
/* Host address of `length` bytes of guest memory at `gpa`, or NULL if any of it is not RAM. */
void *vm_guest(struct ftd_vm *vm, uint64_t gpa, uint64_t length);
/* Like vm_guest, for writing: the pages are in the next epoch. vm->devices is held. */
void *vm_guest_for_write(struct ftd_vm *vm, uint64_t gpa, uint64_t length);
/* Room for this many more distinct pages before the next harvest. vm->devices is held. */
static inline uint32_t vm_mark_room(const struct ftd_vm *vm)
{
	return DEVICE_MARKS_MAX - vm->marked_count;
}

/* vcpu.c */
void *vcpu_main(void *argument);
void vm_request_stop(struct ftd_vm *vm, uint32_t request);
/*
 * Runs `command` while every vCPU is out of KVM_RUN, on the leader's thread or,
 * when they are parked or not yet started, on the caller's. Not for vCPU threads.
 */
int vm_run_stopped(struct ftd_vm *vm, vm_command command, void *argument);
void vm_unpark(struct ftd_vm *vm);
/* Whether a wait inside the stop point must be given up: the VM dies, or a command wants in. */
static inline bool vm_stop_urgent(struct ftd_vm *vm)
{
	return atomic_load(&vm->dying) || (atomic_load(&vm->requests) & STOP_COMMAND);
}
/* Whether the calling thread is a vCPU's. */
bool vcpu_is_self(void);

#endif
