/* SPDX-License-Identifier: Apache-2.0 */
#include "image.h"

#include "fault.h"
#include "memory_map.h"

int image_open(struct image *image, char *memory, uint64_t pages)
{
	*image = (struct image){ .memory = memory, .pages = pages, .touched = reserve_pages((pages + 63) / 64 * 8) };
	return image->touched ? 0 : -1;
}

void image_close(struct image *image)
{
	release_pages(image->touched, (image->pages + 63) / 64 * 8);
	image->touched = NULL;
}

static uint64_t number_of(const struct image *image, uint64_t entry)
{
	return page_of(entry & ENTRY_GFN_MASK, image->pages);
}

char *image_page(const struct image *image, uint64_t entry)
{
	return image->memory + (number_of(image, entry) << FTD_PAGE_SHIFT);
}

static void touch(struct image *image, uint64_t entry)
{
	uint64_t page = number_of(image, entry);

	image->touched[page / 64] |= 1ull << (page % 64);
}

void image_zero(struct image *image, uint64_t entry)
{
	uint64_t page = number_of(image, entry);

	/* A page that was never written is a hole of the memfd: it stays one. */
	if (image->touched[page / 64] & (1ull << (page % 64)))
		memset(image_page(image, entry), 0, FTD_PAGE_SIZE);
}

uint32_t image_touch_run(struct image *image, const uint64_t *list, uint32_t first, uint32_t list_count)
{
	uint32_t i = first + 1;

	touch(image, list[first]);
	while (i < list_count && ENTRY_ENCODING(list[i]) == ENCODING_RAW &&
	       image_page(image, list[i]) == image_page(image, list[i - 1]) + FTD_PAGE_SIZE)
		touch(image, list[i++]);
	return i;
}

static void apply_lines(char *page, const char *contents)
{
	uint64_t lines;

	memcpy(&lines, contents, sizeof(lines));
	contents += sizeof(lines);
	for (; lines; lines &= lines - 1, contents += LINE_BYTES)
		memcpy(page + (unsigned int)__builtin_ctzll(lines) * LINE_BYTES, contents, LINE_BYTES);
}

void image_apply(struct image *image, const uint64_t *list, uint32_t list_count, const char *contents)
{
	for (uint32_t i = 0; i < list_count; i++) {
		switch (ENTRY_ENCODING(list[i])) {
		case ENCODING_ZERO:
			image_zero(image, list[i]);
			continue;
		case ENCODING_DELTA:
			touch(image, list[i]);
			apply_lines(image_page(image, list[i]), contents);
			break;
		default:
			touch(image, list[i]);
			memcpy(image_page(image, list[i]), contents, FTD_PAGE_SIZE);
			break;
		}
		contents += entry_len(list[i]);
		if (i == list_count / 2)
			fault_point(FAULT_COMMIT_HALF);
	}
}
