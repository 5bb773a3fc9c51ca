/*
 * diskwrite FILE MIB BLOCK_KIB [sync]: writes a file from beginning to end past the page cache, then flushes the disk;
 * with `sync`, after each block. Prints bytes and nanoseconds, and removes the file.
 *
 * No two blocks are equal and none is zero: a disk that is clever about such blocks gains nothing.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define NS_PER_S 1000000000LL
#define ALIGNMENT 4096

static long long now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * NS_PER_S + now.tv_nsec;
}

static int fail(const char *what, const char *file)
{
	fprintf(stderr, "diskwrite: %s %s: %s\n", what, file, strerror(errno));
	return 1;
}

static void fill(uint64_t *words, size_t count, uint64_t seed)
{
	for (size_t i = 0; i < count; i++)
		words[i] = (seed * count + i + 1) * 0x9e3779b97f4a7c15ULL;
}

int main(int argc, char **argv)
{
	size_t mib = argc > 3 ? strtoul(argv[2], NULL, 10) : 0;
	size_t block_bytes = argc > 3 ? strtoul(argv[3], NULL, 10) * 1024 : 0;
	int sync_each = argc > 4 && strcmp(argv[4], "sync") == 0;
	size_t blocks;
	uint64_t *block;
	long long began_ns;
	int fd;

	if (mib == 0 || block_bytes == 0 || block_bytes % ALIGNMENT != 0) {
		fprintf(stderr, "usage: diskwrite FILE MIB BLOCK_KIB [sync]; BLOCK_KIB a multiple of 4\n");
		return 2;
	}
	blocks = mib * 1024 * 1024 / block_bytes;
	block = aligned_alloc(ALIGNMENT, block_bytes);
	fd = open(argv[1], O_WRONLY | O_CREAT | O_TRUNC | O_DIRECT, 0600);
	if (!block || fd < 0)
		return fail("cannot open", argv[1]);
	began_ns = now_ns();
	for (size_t i = 0; i < blocks; i++) {
		fill(block, block_bytes / sizeof(*block), i);
		if (write(fd, block, block_bytes) != (ssize_t)block_bytes)
			return fail("cannot write", argv[1]);
		if (sync_each && fdatasync(fd) < 0)
			return fail("cannot flush", argv[1]);
	}
	if (fsync(fd) < 0)
		return fail("cannot flush", argv[1]);
	printf("%zu bytes %lld ns\n", blocks * block_bytes, now_ns() - began_ns);
	return unlink(argv[1]) < 0 ? fail("cannot remove", argv[1]) : 0;
}
