/* SPDX-License-Identifier: Apache-2.0 */
/* The standby's copy of the guest's memory, and what a list of pages does to it. One thread at a time. */
#ifndef FTD_IMAGE_H
#define FTD_IMAGE_H

#include "base.h"
#include "frame.h"

struct image {
	char *memory;
	uint64_t pages;
	uint64_t *touched;	/* a bit for each page that may be other than zero */
};

int image_open(struct image *image, char *memory, uint64_t pages);	/* 0 or -1 */
void image_close(struct image *image);
/* Where the page of this entry lies. The entry is a good one, here and below. */
char *image_page(const struct image *image, uint64_t entry);
void image_zero(struct image *image, uint64_t entry);
/* Entries from `first` on that are all raw and lie side by side, as pages about to be written; the index after them. */
uint32_t image_touch_run(struct image *image, const uint64_t *list, uint32_t first, uint32_t list_count);
/* All of a list, with the contents that belong to it. */
void image_apply(struct image *image, const uint64_t *list, uint32_t list_count, const char *contents);

#endif
