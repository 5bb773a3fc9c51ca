/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An image file or block device. All of it is done, or the first error counts:
 * 0 or -errno. A transfer that stops short without an error is -EIO.
 */
#ifndef FTD_DISK_FILE_H
#define FTD_DISK_FILE_H

#include "disk_log.h"

int disk_file_read(int fd, void *to, uint64_t length, uint64_t offset);
int disk_file_write(int fd, const void *from, uint64_t length, uint64_t offset);
/* Both leave zeros behind; the first gives the space back where the file system can. */
int disk_file_discard(int fd, uint64_t length, uint64_t offset);
int disk_file_zero(int fd, uint64_t length, uint64_t offset);
int disk_file_flush(int fd);

#endif
