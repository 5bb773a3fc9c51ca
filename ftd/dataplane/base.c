/* SPDX-License-Identifier: Apache-2.0 */
#include "base.h"

#include <stdarg.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/uio.h>

int ftd_fail(ftd_error *error, int code, const char *format, ...)
{
	va_list arguments;

	if (error) {
		error->code = code;
		va_start(arguments, format);
		vsnprintf(error->text, sizeof(error->text), format, arguments);
		va_end(arguments);
	}
	return -1;
}

int send_all(int fd, const void *data, size_t length)
{
	const char *p = data;

	while (length > 0) {
		ssize_t n = send(fd, p, length, MSG_NOSIGNAL);

		if (n < 0) {
			if (errno == EINTR)
				continue;
			return -1;
		}
		p += n;
		length -= (size_t)n;
	}
	return 1;
}

void iov_advance(struct iovec **iov, int *iov_count, size_t done)
{
	while (*iov_count > 0 && done >= (*iov)->iov_len) {
		done -= (*iov)->iov_len;
		(*iov)++;
		(*iov_count)--;
	}
	if (*iov_count > 0) {
		(*iov)->iov_base = (char *)(*iov)->iov_base + done;
		(*iov)->iov_len -= done;
	}
}

int sendv_all(int fd, struct iovec *iov, int iov_count)
{
	while (iov_count > 0) {
		struct msghdr message = { .msg_iov = iov, .msg_iovlen = (size_t)iov_count };
		ssize_t n = sendmsg(fd, &message, MSG_NOSIGNAL);

		if (n < 0) {
			if (errno == EINTR)
				continue;
			return -1;
		}
		iov_advance(&iov, &iov_count, (size_t)n);
	}
	return 1;
}

void *reserve_pages(size_t bytes)
{
	void *memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);

	return memory == MAP_FAILED ? NULL : memory;
}

void release_pages(void *memory, size_t bytes)
{
	if (memory)
		munmap(memory, bytes);
}
