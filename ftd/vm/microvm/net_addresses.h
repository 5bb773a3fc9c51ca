/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which addresses the guest has, learnt from the frames that it sends (ARP, IPv6
 * neighbour discovery), so that a new host can announce where they are now. An
 * address that somebody else claims is forgotten: announcing it would be wrong.
 */
#ifndef FTD_NET_ADDRESSES_H
#define FTD_NET_ADDRESSES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define NET_MAC_BYTES 6
#define NET_IPV4_MAX 4
#define NET_IPV6_MAX 8

/* A section of the checkpoint, flat; all zeroes is no address, so any contents are valid. Newest first. */
struct net_addresses {
	uint8_t ipv4[NET_IPV4_MAX][4];
	uint8_t ipv6[NET_IPV6_MAX][16];
};

/* `frame` is hostile, whether the guest sent it or somebody outside. */
void net_addresses_sent(struct net_addresses *addresses, const uint8_t mac[NET_MAC_BYTES], const uint8_t *frame,
			size_t length);
void net_addresses_heard(struct net_addresses *addresses, const uint8_t mac[NET_MAC_BYTES], const uint8_t *frame,
			 size_t length);

#endif
