/* The 16550's transmitter, polled. */
#ifndef FTD_GUEST_SERIAL_H
#define FTD_GUEST_SERIAL_H

/* Writes a zero-terminated string; gives the rest up when the port never becomes ready. */
void serial_write(const char *text);

#endif
