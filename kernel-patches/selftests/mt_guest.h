/* SPDX-License-Identifier: GPL-2.0-only */
/* Guest programs: position-independent, in registers alone. Those that end do so by a write to DONE_PORT. */
#ifndef MT_GUEST_H
#define MT_GUEST_H

#define DONE_PORT	0xf4

extern const char guest_code[], guest_code_end[];

/* rdi: list of addresses, rsi: how many, rdx: value. Writes 8 bytes to each. */
extern const char guest_write_list[];
/* rdi: first address, rsi: how many, rdx: value, rcx: stride. */
extern const char guest_write_stride[];
/* rdi: first address, rsi: how many, rcx: stride. */
extern const char guest_read_stride[];
/*
 * rdi: base, rsi: pages - 1 (pages a power of two), rdx: offset in the page,
 * rcx: seed, not 0, r8: pause in loops between writes, not 0. Never ends: writes
 * its running number at the offset, and again 2,048 bytes on, of random pages.
 */
extern const char guest_write_random[];
/* Halts, again and again. Privilege 0. */
extern const char guest_halt[];
/* Loops without touching memory. */
extern const char guest_spin[];

#endif
