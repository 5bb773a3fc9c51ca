/* SPDX-License-Identifier: Apache-2.0 */
#define _GNU_SOURCE
#include "io.h"

#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>

#include "fault.h"
#include "primary.h"
#include "tap.h"
#include "threads.h"
#include "vm.h"

#define INPUT_BYTES 4096
#define DOUBT_RETRY_MS 2
#define INPUT_RETRY_MS 1

enum { TOKEN_WAKE, TOKEN_LISTENER, TOKEN_CLIENT, TOKEN_LINK, TOKEN_TAP };

enum { CHANGE_LINK, CHANGE_LISTENER, CHANGE_SERIAL };

/* What another thread wants changed. */
struct io_change {
	int kind, fd;
	struct ftd_primary *link;
};

struct io {
	struct ftd_vm *vm;
	int epoll_fd, wake_fd, listener_fd, client_fd, serial_fd;
	uint32_t client_events;
	_Atomic bool stop, woken;
	pthread_t thread;
	_Atomic pid_t tid;

	pthread_mutex_t lock;	/* of `change`; everything else belongs to the io thread */
	pthread_cond_t taken;
	struct io_change change;
	bool change_wanted;
	struct ftd_primary *link;
	struct tap *tap;	/* NULL: no network device */
	bool tap_readable;
	bool again;		/* more may leave than one turn let go */

	char input[INPUT_BYTES];
	size_t input_at, input_len;
};

void io_wake(struct ftd_vm *vm)
{
	uint64_t one = 1;

	if (!vm->io || atomic_exchange(&vm->io->woken, true))
		return;
	while (write(vm->io->wake_fd, &one, sizeof(one)) < 0 && errno == EINTR)
		;
}

void io_output_produced(struct ftd_vm *vm)
{
	if (atomic_load_explicit(&vm->output.direct, memory_order_relaxed))
		io_wake(vm);
}

void io_input_wanted(struct ftd_vm *vm)
{
	io_wake(vm);
}

static void watch(struct io *io, int fd, uint32_t events, uint32_t token)
{
	struct epoll_event event = { .events = events, .data.u32 = token };

	if (epoll_ctl(io->epoll_fd, EPOLL_CTL_ADD, fd, &event) < 0 && errno == EEXIST)
		epoll_ctl(io->epoll_fd, EPOLL_CTL_MOD, fd, &event);
}

static void drop_client(struct io *io)
{
	if (io->client_fd < 0)
		return;
	close(io->client_fd);	/* leaves the epoll set by itself */
	io->client_fd = -1;
	io->input_at = io->input_len = 0;
}

static void watch_client(struct io *io, uint32_t events)
{
	if (io->client_fd < 0 || io->client_events == events)
		return;
	io->client_events = events;
	watch(io, io->client_fd, events, TOKEN_CLIENT);
}

static void accept_client(struct io *io)
{
	int fd = accept4(io->listener_fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);

	if (fd < 0)
		return;
	/* The newcomer wins: an old client may be a dead host that nobody has noticed. */
	drop_client(io);
	io->client_fd = fd;
	io->client_events = 0;
	watch_client(io, EPOLLIN);
}

/* Bytes that the sink took of `length`; 0: it cannot take any now. */
static size_t deliver(struct io *io, enum output_channel_id id, const char *data, size_t length)
{
	int fd = id == OUTPUT_CONSOLE ? io->client_fd : io->serial_fd;
	ssize_t n;

	if (fd < 0) {
		count(&io->vm->counters->output_bytes_dropped, length);
		return length;	/* nobody is plugged in */
	}
	n = id == OUTPUT_CONSOLE ? send(fd, data, length, MSG_NOSIGNAL | MSG_DONTWAIT) : write(fd, data, length);
	if (n > 0) {
		count(&io->vm->counters->output_bytes_released, (uint64_t)n);
		return (size_t)n;
	}
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return 0;
	if (id == OUTPUT_CONSOLE) {
		drop_client(io);
	} else {
		close(io->serial_fd);
		io->serial_fd = -1;
	}
	return 0;
}

static void release_output(struct io *io)
{
	struct ftd_vm *vm = io->vm;
	bool blocked = false, released = false;

	io->again = false;
	if (io->tap)
		released = tap_release(vm, io->tap, &io->again);
	for (int id = 0; id < OUTPUT_NET; id++) {
		struct output_channel *channel = &vm->output.channels[id];
		const char *data;
		size_t ready;

		while ((ready = output_ready(&vm->output, channel, &data)) > 0) {
			size_t taken = deliver(io, (enum output_channel_id)id, data, ready);

			if (!taken && id == OUTPUT_CONSOLE && io->client_fd >= 0) {
				blocked = true;
				break;
			}
			output_consumed(channel, taken);
			released |= taken > 0;
		}
	}
	watch_client(io, blocked ? EPOLLIN | EPOLLOUT : EPOLLIN);
	if (released) {
		fault_point(FAULT_ACK_RELEASED);
		pthread_mutex_lock(&vm->devices);
		if (vm->transmit_waits)
			console_transmit(vm);
		if (vm->net.transmit_waits)
			net_transmit(vm);
		pthread_mutex_unlock(&vm->devices);
	}
}

static void feed_guest(struct io *io)
{
	struct ftd_vm *vm = io->vm;

	if (io->input_at == io->input_len)
		return;
	pthread_mutex_lock(&vm->devices);
	io->input_at += console_receive(vm, io->input + io->input_at, io->input_len - io->input_at);
	pthread_mutex_unlock(&vm->devices);
}

static void read_client(struct io *io)
{
	ssize_t n;

	feed_guest(io);
	if (io->input_at < io->input_len) {
		watch_client(io, io->client_events & ~(uint32_t)EPOLLIN);	/* until the guest takes it */
		return;
	}
	n = recv(io->client_fd, io->input, sizeof(io->input), MSG_DONTWAIT);
	if (n > 0) {
		io->input_at = 0;
		io->input_len = (size_t)n;
		feed_guest(io);
	} else if (n == 0 || (errno != EAGAIN && errno != EINTR)) {
		drop_client(io);
	}
}

static void watch_tap(struct io *io, bool wanted)
{
	if (io->tap->fd < 0 || io->tap->watched == wanted)
		return;
	io->tap->watched = wanted;
	watch(io, io->tap->fd, wanted ? EPOLLIN : 0, TOKEN_TAP);
}

static void feed_net(struct io *io)
{
	struct ftd_vm *vm = io->vm;

	if (!io->tap)
		return;
	if (atomic_exchange(&vm->net.marks_short, false)) {
		pthread_mutex_lock(&vm->devices);
		net_transmit(vm);
		pthread_mutex_unlock(&vm->devices);
	}
	if (io->tap_readable || io->tap->next < io->tap->count)
		watch_tap(io, tap_receive(vm, io->tap));
	io->tap_readable = false;
}

static void replace_link(struct io *io, struct ftd_primary *link)
{
	if (io->link)
		epoll_ctl(io->epoll_fd, EPOLL_CTL_DEL, io->link->link.data_fd, NULL);
	io->link = link;
	if (link)
		watch(io, link->link.data_fd, EPOLLIN, TOKEN_LINK);
}

static void replace_fd(int *which, int fd)
{
	if (*which >= 0)
		close(*which);
	*which = fd;
}

static void take_change(struct io *io)
{
	pthread_mutex_lock(&io->lock);
	if (io->change_wanted) {
		switch (io->change.kind) {
		case CHANGE_LINK:
			replace_link(io, io->change.link);
			break;
		case CHANGE_LISTENER:
			replace_fd(&io->listener_fd, io->change.fd);
			watch(io, io->listener_fd, EPOLLIN, TOKEN_LISTENER);
			break;
		default:
			replace_fd(&io->serial_fd, io->change.fd);
			break;
		}
		io->change_wanted = false;
		pthread_cond_broadcast(&io->taken);
	}
	pthread_mutex_unlock(&io->lock);
}

static void read_link(struct io *io)
{
	if (!io->link)
		return;
	primary_read_acks(io->link);
	if (atomic_load(&io->link->lost) || atomic_load(&io->link->ending))
		epoll_ctl(io->epoll_fd, EPOLL_CTL_DEL, io->link->link.data_fd, NULL);
}

static void handle(struct io *io, const struct epoll_event *event)
{
	switch (event->data.u32) {
	case TOKEN_LISTENER:
		accept_client(io);
		break;
	case TOKEN_CLIENT:
		if (io->client_fd >= 0 && (event->events & EPOLLIN))
			read_client(io);
		else if (event->events & (EPOLLHUP | EPOLLERR))
			drop_client(io);
		break;
	case TOKEN_LINK:
		read_link(io);
		break;
	case TOKEN_TAP:
		if (event->events & EPOLLERR)
			tap_lost(io->tap);
		else
			io->tap_readable = true;
		break;
	default:
		break;	/* TOKEN_WAKE was for the loop */
	}
}

/*
 * A wake that finds `woken` set is left out, because the loop is about to look
 * around anyway. So the descriptor is emptied first, then the flag is cleared,
 * and only then does the loop look: a wake that comes later writes again.
 */
static void rearm_wake(struct io *io)
{
	uint64_t ignored;

	while (read(io->wake_fd, &ignored, sizeof(ignored)) < 0 && errno == EINTR)
		;
	atomic_store(&io->woken, false);
}

static int next_timeout_ms(struct io *io)
{
	if (io->again)
		return 0;
	/* A guest that polls does not tell when it has buffers again; nor does a harvest, that pages can be marked again. */
	if (io->input_at < io->input_len || atomic_load(&io->vm->net.marks_short))
		return INPUT_RETRY_MS;
	return atomic_load(&io->vm->output.doubt_since_ns) ? DOUBT_RETRY_MS : -1;
}

static void *io_main(void *argument)
{
	struct io *io = argument;
	struct epoll_event events[8];

	while (!atomic_load(&io->stop)) {
		int n = epoll_wait(io->epoll_fd, events, ARRAY_SIZE(events), next_timeout_ms(io));

		if (atomic_load(&io->woken))
			rearm_wake(io);
		take_change(io);
		for (int i = 0; i < n; i++)
			handle(io, &events[i]);
		feed_guest(io);
		feed_net(io);
		if (io->input_at == io->input_len)
			watch_client(io, io->client_events | EPOLLIN);
		release_output(io);
		if (io->link)
			primary_check_drained(io->link);
	}
	return NULL;
}

static void free_io(struct io *io)
{
	const int fds[] = { io->epoll_fd, io->wake_fd, io->listener_fd, io->client_fd, io->serial_fd };

	for (size_t i = 0; i < ARRAY_SIZE(fds); i++)
		if (fds[i] >= 0)
			close(fds[i]);
	tap_close(io->tap);
	pthread_mutex_destroy(&io->lock);
	pthread_cond_destroy(&io->taken);
	free(io);
}

int io_start(struct ftd_vm *vm, ftd_error *error)
{
	struct io *io = calloc(1, sizeof(*io));
	int result;

	if (!io)
		return ftd_fail(error, ENOMEM, "no memory for the io thread");
	io->vm = vm;
	io->listener_fd = io->client_fd = io->serial_fd = -1;
	pthread_mutex_init(&io->lock, NULL);
	pthread_cond_init(&io->taken, NULL);
	io->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	io->wake_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	if (vm->virtio[VIRTIO_NET].kind)
		io->tap = tap_open(vm);
	if (io->epoll_fd < 0 || io->wake_fd < 0 || (vm->virtio[VIRTIO_NET].kind && !io->tap)) {
		result = ftd_fail(error, errno, "making what the io thread needs: %s", strerror(errno));
		free_io(io);
		return result;
	}
	watch(io, io->wake_fd, EPOLLIN, TOKEN_WAKE);
	if (io->tap)
		watch_tap(io, true);
	result = thread_start(&io->thread, "io", io_main, io, &io->tid);
	if (result) {
		free_io(io);
		return ftd_fail(error, result, "starting the io thread: %s", strerror(result));
	}
	vm->io = io;
	return 0;
}

void io_stop(struct ftd_vm *vm)
{
	struct io *io = vm->io;

	if (!io)
		return;
	atomic_store(&io->stop, true);
	io_wake(vm);
	pthread_join(io->thread, NULL);
	vm->io = NULL;
	free_io(io);
}

pid_t io_thread_id(const struct ftd_vm *vm)
{
	return vm->io ? atomic_load(&vm->io->tid) : 0;
}

/* Hands `change` to the io thread and returns when it was taken up. */
static void change_io(struct ftd_vm *vm, struct io_change change)
{
	struct io *io = vm->io;

	if (!io)
		return;
	pthread_mutex_lock(&io->lock);
	io->change = change;
	io->change_wanted = true;
	io_wake(vm);
	while (io->change_wanted)
		pthread_cond_wait(&io->taken, &io->lock);
	pthread_mutex_unlock(&io->lock);
}

void io_set_link(struct ftd_vm *vm, struct ftd_primary *primary)
{
	change_io(vm, (struct io_change){ .kind = CHANGE_LINK, .link = primary });
}

int ftd_vm_console_listen(ftd_vm *vm, int fd, ftd_error *error)
{
	if (!vm->io)
		return ftd_fail(error, EINVAL, "the VM does not run");
	change_io(vm, (struct io_change){ .kind = CHANGE_LISTENER, .fd = fd });
	return 0;
}

int ftd_vm_serial_sink(ftd_vm *vm, int fd, ftd_error *error)
{
	if (!vm->io)
		return ftd_fail(error, EINVAL, "the VM does not run");
	change_io(vm, (struct io_change){ .kind = CHANGE_SERIAL, .fd = fd });
	return 0;
}
