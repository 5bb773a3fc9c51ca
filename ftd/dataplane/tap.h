/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The outer end of the network device: a tap, read and written by the io
 * thread. Frames to the guest wait for no gate; frames from it leave when the
 * output gate lets them.
 */
#ifndef FTD_TAP_H
#define FTD_TAP_H

#include "base.h"
#include "net.h"

#define TAP_BATCH 16u

struct ftd_vm;

struct tap {
	int fd;		/* -1: none */
	bool watched;	/* for input, by the io thread's epoll */
	/* Frames that were read: those from `next` to `count` wait for the guest. */
	uint32_t next, count;
	struct net_frame frames[TAP_BATCH];
};

/* Takes what ftd_vm_net_attach left. NULL: no memory. */
struct tap *tap_open(struct ftd_vm *vm);
void tap_close(struct tap *tap);
void tap_lost(struct tap *tap);	/* somebody has deleted the interface: from here on all is dropped */

/* Lets go what may leave, a bounded number of frames. Returns whether any left; *more: others may. */
bool tap_release(struct ftd_vm *vm, struct tap *tap, bool *more);
/* Moves frames from the tap to the guest, a bounded number. False: the guest has no room, so do not watch the tap. */
bool tap_receive(struct ftd_vm *vm, struct tap *tap);

/* While a VM is made. */
void tap_make_device(struct ftd_vm *vm, const ftd_vm_config *config);

#endif
