/*
 * Preloaded: lets calls on descriptors of files named FTD_BROKEN_DISK fail while the file FTD_BROKEN_SWITCH says so:
 * "write N": writes fail with errno N; "short": each writes half of what it should, then nothing more; "read N",
 * "flush N".
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
#include <unistd.h>

/* The errno to fail with; 0: not this call; -1: stop short. */
static int verdict(int fd, const char *call)
{
	const char *disk = getenv("FTD_BROKEN_DISK"), *path = getenv("FTD_BROKEN_SWITCH");
	char link[64], name[512] = { 0 }, line[64] = { 0 };
	int result = 0;
	FILE *file;

	snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	if (!disk || !path || readlink(link, name, sizeof(name) - 1) < 0 || strcmp(name, disk) != 0)
		return 0;
	file = fopen(path, "r");
	if (!file)
		return 0;
	if (fgets(line, sizeof(line), file)) {
		if (strncmp(line, call, strlen(call)) == 0)
			result = atoi(line + strlen(call));
		else if (strncmp(line, "short", 5) == 0 && strcmp(call, "write") == 0)
			result = -1;
	}
	fclose(file);
	return result;
}

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

ssize_t pwrite(int fd, const void *from, size_t length, off_t offset)
{
	int error = verdict(fd, "write");

	if (error > 0) {
		errno = error;
		return -1;
	}
	if (error < 0 && length > 512)
		return REAL(pwrite)(fd, from, length / 2, offset);
	return error < 0 ? 0 : REAL(pwrite)(fd, from, length, offset);
}

ssize_t pwrite64(int fd, const void *from, size_t length, off_t offset)
{
	return pwrite(fd, from, length, offset);
}

ssize_t pread(int fd, void *to, size_t length, off_t offset)
{
	int error = verdict(fd, "read");

	if (error > 0) {
		errno = error;
		return -1;
	}
	return REAL(pread)(fd, to, length, offset);
}

ssize_t pread64(int fd, void *to, size_t length, off_t offset)
{
	return pread(fd, to, length, offset);
}

int fdatasync(int fd)
{
	int error = verdict(fd, "flush");

	if (error > 0) {
		errno = error;
		return -1;
	}
	return REAL(fdatasync)(fd);
}
