/* Driver of the virtio-mmio network card (virtio 1.2, section 5.1): no offloads, polled. */
#ifndef FTD_GUEST_NET_H
#define FTD_GUEST_NET_H

#include <stdint.h>

#define MAC_BYTES 6
#define FRAME_BYTES_MAX 1518u

/* Finds and initialises the device, and reads its address. 0, or -1 when there is none that can be used. */
int net_open(uint8_t mac[MAC_BYTES]);

/* The next frame that came, to be changed at will until the next call. Returns its length, 0: none has come. */
uint32_t net_read(uint8_t **frame);

/* Sends a copy. Waits only when the device has fallen a whole queue behind. */
void net_write(const uint8_t *frame, uint32_t length);

/* Hands everything written to the device. Without effect when nothing was written. */
void net_flush(void);

#endif
