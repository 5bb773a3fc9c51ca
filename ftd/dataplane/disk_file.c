/* SPDX-License-Identifier: Apache-2.0 */
#define _GNU_SOURCE
#include "disk_file.h"

#include <fcntl.h>
#include <linux/falloc.h>

int disk_file_read(int fd, void *to, uint64_t length, uint64_t offset)
{
	for (char *at = to; length > 0;) {
		ssize_t n = pread(fd, at, length, (off_t)offset);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n < 0 ? -errno : -EIO;
		at += n;
		length -= (uint64_t)n;
		offset += (uint64_t)n;
	}
	return 0;
}

int disk_file_write(int fd, const void *from, uint64_t length, uint64_t offset)
{
	for (const char *at = from; length > 0;) {
		ssize_t n = pwrite(fd, at, length, (off_t)offset);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n < 0 ? -errno : -EIO;
		at += n;
		length -= (uint64_t)n;
		offset += (uint64_t)n;
	}
	return 0;
}

static int write_zeros(int fd, uint64_t length, uint64_t offset)
{
	static const char zeros[65536];
	int error = 0;

	while (!error && length > 0) {
		uint64_t part = min_u64(length, sizeof(zeros));

		error = disk_file_write(fd, zeros, part, offset);
		length -= part;
		offset += part;
	}
	return error;
}

/* Where the file system cannot do it at once, zeros are written. */
static int allocate(int fd, int mode, uint64_t length, uint64_t offset)
{
	int result;

	do
		result = fallocate(fd, mode, (off_t)offset, (off_t)length);
	while (result < 0 && errno == EINTR);
	if (result < 0 && (errno == EOPNOTSUPP || errno == ENOSYS || errno == EINVAL))
		return write_zeros(fd, length, offset);
	return result < 0 ? -errno : 0;
}

int disk_file_discard(int fd, uint64_t length, uint64_t offset)
{
	return allocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, length, offset);
}

int disk_file_zero(int fd, uint64_t length, uint64_t offset)
{
	return allocate(fd, FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE, length, offset);
}

int disk_file_flush(int fd)
{
	return fdatasync(fd) < 0 ? -errno : 0;
}
