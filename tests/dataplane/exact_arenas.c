/* SPDX-License-Identifier: Apache-2.0 */
/*
 * reserve_pages and release_pages on the heap, in the exact size asked for: so
 * that the address sanitizer sees the first byte past an arena, which it does
 * not in a mapping. Zeroed and page-aligned as the contract says. The sizes
 * must agree.
 */
#include <stdlib.h>

#include "base.h"
#include "check.h"

void *__wrap_reserve_pages(size_t bytes);
void __wrap_release_pages(void *memory, size_t bytes);

/*
 * Large buffers are kept for the next user, not cleared: to clear and poison
 * 2 MiB for each of 100,000 connections would be most of what the fuzzer does.
 */
#define KEEP_FROM_BYTES (1u << 14)
#define KEPT_MAX 16

static struct {
	void *memory;
	size_t bytes;
} kept[KEPT_MAX];

void *__wrap_reserve_pages(size_t bytes)
{
	void *memory;

	for (int i = 0; i < KEPT_MAX; i++) {
		if (kept[i].memory && kept[i].bytes == bytes) {
			memory = kept[i].memory;
			kept[i].memory = NULL;
			return memory;
		}
	}
	CHECK(posix_memalign(&memory, FTD_PAGE_SIZE, bytes) == 0, "no memory for an arena of %zu bytes", bytes);
	memset(memory, 0, bytes);
	return memory;
}

void __wrap_release_pages(void *memory, size_t bytes)
{
	if (!memory)
		return;
	for (int i = 0; bytes >= KEEP_FROM_BYTES && i < KEPT_MAX; i++) {
		if (!kept[i].memory) {
			kept[i].memory = memory;
			kept[i].bytes = bytes;
			return;
		}
	}
	free(memory);
}
