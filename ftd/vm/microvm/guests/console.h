/*
 * Driver of the virtio-mmio console (virtio 1.2, sections 4.2 and 5.3): one port, polled, no interrupts.
 *
 * Every register access leaves the guest and costs tens of microseconds, so the data path makes as few as the
 * specification allows: the used rings are polled in memory, received buffers are given back in batches of
 * half the queue, and what is written goes out with one notification at each flush.
 */
#ifndef FTD_GUEST_CONSOLE_H
#define FTD_GUEST_CONSOLE_H

#include <stdint.h>

/* Finds and initialises the device. 0, or -1 when there is none or it refuses the handshake. */
int console_open(void);

/*
 * The next received chunk. Returns its length and sets *bytes, or returns 0 when nothing has come. The chunk
 * is valid until the next call.
 */
uint32_t console_read(const char **bytes);

/* Appends to the buffer being filled; waits only when the device has fallen a whole queue behind. */
void console_write(const char *bytes, uint32_t length);

/* Hands everything written to the device. Without effect when nothing was written. */
void console_flush(void);

#endif
