/* SPDX-License-Identifier: GPL-2.0-only */
/* One function for each request of linux/kvm_mt.h. All return a negative errno on failure. */
#ifndef MT_API_H
#define MT_API_H

#include <linux/kvm.h>
#include <linux/kvm_mt.h>

#include "harness.h"

/* ioctl() with the errno as the result. */
int mt_ioctl(int fd, unsigned long request, void *argument);

bool mt_supported(void);
/* The largest max_gfns. */
u32 mt_capacity(void);

int mt_create(int vm_fd, u32 max_gfns);
int mt_enable(int mt);
int mt_disable(int mt);
/* Returns the number of entries; *prepare may be NULL. */
int mt_prepare(int mt, u32 flags, struct kvm_mt_prepare *prepare);
/* Returns the number of entries copied. */
int mt_fetch(int mt, u64 epoch, u32 start, u64 *gfns, u32 count);
/* As mt_fetch; *start is where the entries that were taken begin. */
int mt_fetch_next(int mt, u64 epoch, u32 *start, u64 *gfns, u32 count);
/* Both return how many frames were not armed before. */
int mt_rearm(int mt, u64 epoch, u32 start, u32 count);
int mt_rearm_share(int mt, u64 epoch, u32 share, u32 shares);
int mt_rearm_gfns(int mt, const u64 *gfns, u32 count);
int mt_threshold(int mt, u32 threshold);
int mt_mark(int mt, const u64 *gfns, u32 count);
int mt_status(int mt, struct kvm_mt_status *status);

/* The mapping of both lists; half(l) is where list l begins. */
size_t mt_map_bytes(u32 max_gfns);
size_t mt_map_half(u32 max_gfns);

#endif
