/* SPDX-License-Identifier: Apache-2.0 */
#include "net_addresses.h"

#include <string.h>

#define ETHER_BYTES 14
#define ARP_BYTES 28
#define IPV6_BYTES 40
#define NEIGHBOUR_BYTES 24	/* ICMPv6 type to the end of the target */
#define NEXT_ICMPV6 58
#define NEIGHBOUR_SOLICITATION 135
#define NEIGHBOUR_ADVERTISEMENT 136

/* An Ethernet and IPv4 ARP: its sender. Offsets as in RFC 826. */
static const uint8_t arp_head[6] = { 0, 1, 8, 0, 6, 4 };

/* Whose address a frame tells. */
struct claim {
	const uint8_t *mac, *ipv4, *ipv6;
};

static bool all_zero(const uint8_t *bytes, size_t length)
{
	for (size_t i = 0; i < length; i++)
		if (bytes[i])
			return false;
	return true;
}

static bool read_arp(const uint8_t *arp, size_t length, struct claim *claim)
{
	if (length < ARP_BYTES || memcmp(arp, arp_head, sizeof(arp_head)) != 0)
		return false;
	claim->mac = arp + 8;
	claim->ipv4 = arp + 14;
	/* A probe asks with no sender: nobody has the address yet. Multicast and broadcast are nobody's. */
	return !all_zero(claim->ipv4, 4) && claim->ipv4[0] < 224;
}

/* The sender of a solicitation; the target if it has none (it is about to take that address) or advertises it. */
static bool read_neighbour(const uint8_t *ipv6, size_t length, struct claim *claim)
{
	const uint8_t *source = ipv6 + 8, *icmp = ipv6 + IPV6_BYTES, *target = icmp + 8;

	/* Hop limit 255: it was not routed, so it is of this link (RFC 4861, 7.1). */
	if (length < IPV6_BYTES + NEIGHBOUR_BYTES || ipv6[0] >> 4 != 6 || ipv6[6] != NEXT_ICMPV6 || ipv6[7] != 255)
		return false;
	if (icmp[0] == NEIGHBOUR_SOLICITATION)
		claim->ipv6 = all_zero(source, 16) ? target : source;
	else if (icmp[0] == NEIGHBOUR_ADVERTISEMENT)
		claim->ipv6 = target;
	return claim->ipv6 && !all_zero(claim->ipv6, 16) && claim->ipv6[0] != 0xff;
}

static bool read_claim(const uint8_t *frame, size_t length, struct claim *claim)
{
	unsigned int type;

	memset(claim, 0, sizeof(*claim));
	if (length < ETHER_BYTES)
		return false;
	type = (unsigned int)frame[12] << 8 | frame[13];
	claim->mac = frame + 6;
	if (type == 0x0806)
		return read_arp(frame + ETHER_BYTES, length - ETHER_BYTES, claim);
	if (type == 0x86dd)
		return read_neighbour(frame + ETHER_BYTES, length - ETHER_BYTES, claim);
	return false;
}

/* Moves the address to the front; what stood last falls out if it is a new one. */
static void remember(uint8_t *table, size_t entries, size_t size, const uint8_t *address)
{
	size_t at = 0;

	while (at < entries - 1 && memcmp(table + at * size, address, size) != 0)
		at++;
	memmove(table + size, table, at * size);
	memcpy(table, address, size);
}

static void forget(uint8_t *table, size_t entries, size_t size, const uint8_t *address)
{
	for (size_t i = 0; i < entries; i++) {
		if (memcmp(table + i * size, address, size) != 0)
			continue;
		memmove(table + i * size, table + (i + 1) * size, (entries - 1 - i) * size);
		memset(table + (entries - 1) * size, 0, size);
		return;
	}
}

void net_addresses_sent(struct net_addresses *addresses, const uint8_t mac[NET_MAC_BYTES], const uint8_t *frame,
			size_t length)
{
	struct claim claim;

	/* Behind the guest there may be others (a bridge in it): their addresses are not at its MAC. */
	if (!read_claim(frame, length, &claim) || memcmp(claim.mac, mac, NET_MAC_BYTES) != 0)
		return;
	if (claim.ipv4)
		remember(addresses->ipv4[0], NET_IPV4_MAX, 4, claim.ipv4);
	else
		remember(addresses->ipv6[0], NET_IPV6_MAX, 16, claim.ipv6);
}

void net_addresses_heard(struct net_addresses *addresses, const uint8_t mac[NET_MAC_BYTES], const uint8_t *frame,
			 size_t length)
{
	struct claim claim;

	if (!read_claim(frame, length, &claim) || memcmp(claim.mac, mac, NET_MAC_BYTES) == 0)
		return;
	if (claim.ipv4)
		forget(addresses->ipv4[0], NET_IPV4_MAX, 4, claim.ipv4);
	else
		forget(addresses->ipv6[0], NET_IPV6_MAX, 16, claim.ipv6);
}
