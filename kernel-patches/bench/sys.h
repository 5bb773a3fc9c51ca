/* SPDX-License-Identifier: GPL-2.0-only */
/* System calls, checked: a bench that cannot go on says why and ends. */
#ifndef BENCH_SYS_H
#define BENCH_SYS_H

#include <stddef.h>
#include <stdint.h>

#define PAGE_BYTES	4096UL

/* Ends the program with the message and what errno says. */
_Noreturn void die(const char *format, ...) __attribute__((format(printf, 1, 2)));
uint64_t now_ns(void);
int checked_ioctl(int fd, unsigned long request, void *argument, const char *name);
/* Shared mapping of a file; flags may be MAP_POPULATE. */
void *map_shared(int fd, size_t bytes, size_t offset, int protection, int flags, const char *what);
/* Memory that is there: no page fault later, when it is measured. */
void *allocate(size_t bytes, const char *what);
/* From here on the calling thread runs on this processor alone. */
void pin_to(unsigned int processor);

#endif
