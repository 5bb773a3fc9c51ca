/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Lines of `S HEX` (the guest sent this frame) and `H HEX` (it was heard) on
 * standard input; the addresses that are known at the end, in hex, one a line.
 */
#include <string.h>

#include "check.h"
#include "net_addresses.h"

static const uint8_t mac[NET_MAC_BYTES] = { 2, 0, 0, 0, 0, 1 };

/* On the heap in its exact size, so that the sanitizer sees the first byte beyond it. */
static uint8_t *from_hex(const char *hex, size_t *length)
{
	uint8_t *bytes;

	*length = strspn(hex, "0123456789abcdef") / 2;
	bytes = malloc(*length ? *length : 1);
	for (size_t i = 0; i < *length; i++)
		sscanf(hex + 2 * i, "%2hhx", &bytes[i]);
	return bytes;
}

static void show(const uint8_t *address, size_t size)
{
	for (size_t i = 0; i < size; i++)
		printf("%02x", address[i]);
	putchar('\n');
}

int main(void)
{
	struct net_addresses addresses = { 0 };
	char line[8192];

	while (fgets(line, sizeof(line), stdin)) {
		size_t length;
		uint8_t *frame = from_hex(line + 2, &length);

		CHECK(line[0] == 'S' || line[0] == 'H', "line %s", line);
		(line[0] == 'S' ? net_addresses_sent : net_addresses_heard)(&addresses, mac, frame, length);
		free(frame);
	}
	for (int i = 0; i < NET_IPV4_MAX; i++)
		show(addresses.ipv4[i], 4);
	for (int i = 0; i < NET_IPV6_MAX; i++)
		show(addresses.ipv6[i], 16);
	return 0;
}
