/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Guest physical layout: RAM from 0 up to 3 GiB, the rest from 4 GiB on; the
 * hole between holds devices. The RAM image is one memfd without a hole, so a
 * page has two numbers: its guest frame number (on the wire, in KVM) and its
 * index in the image (in every array of ours).
 */
#ifndef FTD_MEMORY_MAP_H
#define FTD_MEMORY_MAP_H

#include "base.h"

#define LOW_PAGES ((uint64_t)3 << (30 - FTD_PAGE_SHIFT))
#define HIGH_GFN ((uint64_t)4 << (30 - FTD_PAGE_SHIFT))
#define NO_PAGE UINT64_MAX

static inline uint64_t gfn_of(uint64_t page)
{
	return page < LOW_PAGES ? page : page - LOW_PAGES + HIGH_GFN;
}

/* NO_PAGE when the frame is not RAM of a guest with `pages` pages. */
static inline uint64_t page_of(uint64_t gfn, uint64_t pages)
{
	uint64_t page;

	if (gfn < LOW_PAGES)
		page = gfn;
	else if (gfn >= HIGH_GFN)
		page = gfn - HIGH_GFN + LOW_PAGES;
	else
		return NO_PAGE;
	return page < pages ? page : NO_PAGE;
}

#endif
