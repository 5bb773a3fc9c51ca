/* SPDX-License-Identifier: Apache-2.0 */
/* The network device: what of it is no virtio transport. All functions are called with vm->devices held. */
#ifndef FTD_NET_H
#define FTD_NET_H

#include <stdatomic.h>

#include "net_addresses.h"

struct ftd_vm;

#define NET_MTU_MAX 9000u
#define NET_FRAME_MIN 14u
#define NET_FRAME_MAX (NET_MTU_MAX + 18u)	/* Ethernet header, VLAN tag */
#define NET_RECORD_HEAD 4u			/* in the output ring: a frame's length, then the frame */

struct net {
	uint8_t mac[NET_MAC_BYTES];
	uint16_t mtu;
	int tap_fd;		/* until the io thread takes it over; -1: none */
	bool transmit_waits;	/* the guest's frames did not fit the ring */
	bool receive_waits;	/* frames wait for the guest to offer buffers */
	/* No page can be marked before the next harvest: to be tried again soon. The io thread looks without the lock. */
	_Atomic bool marks_short;
	struct net_addresses addresses;
	uint8_t frame[NET_FRAME_MAX];
};

struct net_frame {
	uint32_t length;
	uint8_t bytes[NET_FRAME_MAX];
};

/* Longest frame with this MTU. */
static inline uint32_t net_frame_max(const struct net *net)
{
	return net->mtu + 18u;
}

/* Moves what the guest queued into the output ring, as far as there is room. */
void net_transmit(struct ftd_vm *vm);
/* One frame as if the guest had sent it. False: no room. */
bool net_append(struct ftd_vm *vm, const uint8_t *frame, uint32_t length);
/*
 * Puts frames into the guest's buffers, or drops them where the guest cannot
 * have them. Returns how many are done with; the others wait for buffers.
 */
uint32_t net_receive(struct ftd_vm *vm, const struct net_frame *frames, uint32_t count);

#endif
