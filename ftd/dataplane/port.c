/* SPDX-License-Identifier: Apache-2.0 */
#define _GNU_SOURCE
#include "port.h"

#include <sys/epoll.h>
#include <sys/socket.h>

#include "vm.h"

static void watch(const struct port *port, int fd, uint32_t events, uint32_t token)
{
	struct epoll_event event = { .events = events, .data.u32 = token };

	if (epoll_ctl(port->epoll_fd, EPOLL_CTL_ADD, fd, &event) < 0 && errno == EEXIST)
		epoll_ctl(port->epoll_fd, EPOLL_CTL_MOD, fd, &event);
}

static void replace_fd(int *which, int fd)
{
	if (*which >= 0)
		close(*which);	/* leaves the epoll set by itself */
	*which = fd;
}

static void drop_client(struct port *port)
{
	replace_fd(&port->client_fd, -1);
	port->input_at = port->input_len = 0;
}

static void watch_client(struct port *port, uint32_t events)
{
	if (port->client_fd < 0 || port->client_events == events)
		return;
	port->client_events = events;
	watch(port, port->client_fd, events, port->client_token);
}

void port_close(struct port *port)
{
	replace_fd(&port->listener_fd, -1);
	replace_fd(&port->client_fd, -1);
	replace_fd(&port->log_fd, -1);
}

void port_listen(struct port *port, int fd)
{
	replace_fd(&port->listener_fd, fd);
	watch(port, fd, EPOLLIN, port->listener_token);
}

void port_log(struct port *port, int fd)
{
	replace_fd(&port->log_fd, fd);
}

void port_accept(struct port *port)
{
	int fd = accept4(port->listener_fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);

	if (fd < 0)
		return;
	/* The newcomer wins: an old client may be a dead host that nobody has noticed. */
	drop_client(port);
	port->client_fd = fd;
	port->client_events = 0;
	watch_client(port, EPOLLIN);
}

/* ---- into the guest ---- */

static bool input_waits(const struct port *port)
{
	return port->input_at < port->input_len;
}

static void offer(struct port *port)
{
	if (!input_waits(port))
		return;
	pthread_mutex_lock(&port->vm->devices);
	port->input_at += port->receive(port->vm, port->input + port->input_at, port->input_len - port->input_at);
	pthread_mutex_unlock(&port->vm->devices);
}

void port_feed(struct port *port)
{
	offer(port);
	if (!input_waits(port))
		watch_client(port, port->client_events | EPOLLIN);
}

bool port_must_poll(const struct port *port)
{
	return port->polls && input_waits(port);
}

static void read_client(struct port *port)
{
	ssize_t n;

	offer(port);
	if (input_waits(port)) {
		watch_client(port, port->client_events & ~(uint32_t)EPOLLIN);	/* until the guest takes it */
		return;
	}
	n = recv(port->client_fd, port->input, sizeof(port->input), MSG_DONTWAIT);
	if (n > 0) {
		port->input_at = 0;
		port->input_len = (size_t)n;
		offer(port);
	} else if (n == 0 || (errno != EAGAIN && errno != EINTR)) {
		drop_client(port);
	}
}

void port_client_event(struct port *port, uint32_t events)
{
	if (port->client_fd >= 0 && (events & EPOLLIN))
		read_client(port);
	else if (events & (EPOLLHUP | EPOLLERR))
		drop_client(port);
}

/* ---- out of it ---- */

static void write_log(struct port *port, const char *data, size_t length)
{
	while (port->log_fd >= 0 && length) {
		ssize_t n = write(port->log_fd, data, length);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0) {
			replace_fd(&port->log_fd, -1);
			return;
		}
		data += n;
		length -= (size_t)n;
	}
}

/* Bytes that the client took of `length`; 0: none, and it is there still; -1: there is no client. */
static ssize_t send_to_client(struct port *port, const char *data, size_t length)
{
	ssize_t n;

	if (port->client_fd < 0)
		return -1;
	do {
		n = send(port->client_fd, data, length, MSG_NOSIGNAL | MSG_DONTWAIT);
	} while (n < 0 && errno == EINTR);
	if (n >= 0)
		return n;
	if (errno == EAGAIN)
		return 0;
	drop_client(port);
	return -1;
}

/* Bytes that are done with; 0: the client has to take some first. */
static size_t deliver(struct port *port, const char *data, size_t length)
{
	ftd_counters *counters = port->vm->counters;
	ssize_t taken = send_to_client(port, data, length);
	size_t done = taken > 0 ? (size_t)taken : 0;
	bool logged = port->log_fd >= 0;

	if (taken < 0 || !port->may_block) {
		write_log(port, data, length);
		if (logged)
			done = length;
		count(&counters->output_bytes_dropped, length - done);
		count(&counters->output_bytes_released, done);
		return length;
	}
	write_log(port, data, done);
	count(&counters->output_bytes_released, done);
	return done;
}

bool port_release(struct port *port)
{
	struct output *output = &port->vm->output;
	struct output_channel *channel = &output->channels[port->channel];
	bool blocked = false, released = false;
	const char *data;
	size_t ready;

	while (!blocked && (ready = output_ready(output, channel, &data)) > 0) {
		size_t done = deliver(port, data, ready);

		output_consumed(channel, done);
		released |= done > 0;
		blocked = done == 0;
	}
	watch_client(port, (port->client_events & EPOLLIN) | (blocked ? EPOLLOUT : 0));
	return released;
}
