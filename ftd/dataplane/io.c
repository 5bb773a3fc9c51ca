/* SPDX-License-Identifier: Apache-2.0 */
#define _GNU_SOURCE
#include "io.h"

#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>

#include "fault.h"
#include "port.h"
#include "primary.h"
#include "tap.h"
#include "threads.h"
#include "vm.h"

#define DOUBT_RETRY_MS 2
#define INPUT_RETRY_MS 1

enum { PORT_CONSOLE, PORT_SERIAL, PORTS };

/* Those of a port are TOKEN_LISTENER and TOKEN_CLIENT and its number. */
enum {
	TOKEN_WAKE, TOKEN_LINK, TOKEN_TAP,
	TOKEN_LISTENER, TOKEN_CLIENT = TOKEN_LISTENER + PORTS, TOKENS = TOKEN_CLIENT + PORTS,
};

enum { CHANGE_LINK, CHANGE_LISTENER, CHANGE_LOG };

/* What another thread wants changed. */
struct io_change {
	int kind, port, fd;
	struct ftd_primary *link;
};

struct io {
	struct ftd_vm *vm;
	int epoll_fd, wake_fd;
	struct port ports[PORTS];
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

static void release_output(struct io *io)
{
	struct ftd_vm *vm = io->vm;
	bool released = false;

	vm->output.held = false;
	io->again = false;
	if (io->tap)
		released = tap_release(vm, io->tap, &io->again);
	for (size_t i = 0; i < PORTS; i++)
		released |= port_release(&io->ports[i]);
	if (released) {
		fault_point(FAULT_ACK_RELEASED);
		pthread_mutex_lock(&vm->devices);
		if (vm->transmit_waits)
			console_transmit(vm);
		if (vm->net.transmit_waits)
			net_transmit(vm);
		serial_room_made(vm);
		pthread_mutex_unlock(&vm->devices);
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

static void take_change(struct io *io)
{
	pthread_mutex_lock(&io->lock);
	if (io->change_wanted) {
		switch (io->change.kind) {
		case CHANGE_LINK:
			replace_link(io, io->change.link);
			break;
		case CHANGE_LISTENER:
			port_listen(&io->ports[io->change.port], io->change.fd);
			break;
		default:
			port_log(&io->ports[io->change.port], io->change.fd);
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
	uint32_t token = event->data.u32;

	if (token == TOKEN_LINK)
		read_link(io);
	else if (token == TOKEN_TAP && (event->events & EPOLLERR))
		tap_lost(io->tap);
	else if (token == TOKEN_TAP)
		io->tap_readable = true;
	else if (token >= TOKEN_CLIENT && token < TOKENS)
		port_client_event(&io->ports[token - TOKEN_CLIENT], event->events);
	else if (token >= TOKEN_LISTENER && token < TOKEN_CLIENT)
		port_accept(&io->ports[token - TOKEN_LISTENER]);
	/* TOKEN_WAKE was for the loop. */
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
	if (atomic_load(&io->vm->net.marks_short))
		return INPUT_RETRY_MS;
	for (size_t i = 0; i < PORTS; i++)
		if (port_must_poll(&io->ports[i]))
			return INPUT_RETRY_MS;
	return io->vm->output.held ? DOUBT_RETRY_MS : -1;
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
		for (size_t i = 0; i < PORTS; i++)
			port_feed(&io->ports[i]);
		feed_net(io);
		release_output(io);
		if (io->link)
			primary_check_drained(io->link);
	}
	return NULL;
}

static void free_io(struct io *io)
{
	for (size_t i = 0; i < PORTS; i++)
		port_close(&io->ports[i]);
	if (io->wake_fd >= 0)
		close(io->wake_fd);
	if (io->epoll_fd >= 0)
		close(io->epoll_fd);
	tap_close(io->tap);
	pthread_mutex_destroy(&io->lock);
	pthread_cond_destroy(&io->taken);
	free(io);
}

static void make_ports(struct io *io)
{
	struct port *console = &io->ports[PORT_CONSOLE], *serial = &io->ports[PORT_SERIAL];

	for (uint32_t i = 0; i < PORTS; i++)
		io->ports[i] = (struct port){
			.vm = io->vm, .epoll_fd = io->epoll_fd, .listener_fd = -1, .client_fd = -1, .log_fd = -1,
			.listener_token = TOKEN_LISTENER + i, .client_token = TOKEN_CLIENT + i,
		};
	console->channel = OUTPUT_CONSOLE;
	console->receive = console_receive;
	console->may_block = true;
	console->polls = true;
	serial->channel = OUTPUT_SERIAL;
	serial->receive = serial_receive;
}

int io_start(struct ftd_vm *vm, ftd_error *error)
{
	struct io *io = calloc(1, sizeof(*io));
	int result;

	if (!io)
		return ftd_fail(error, ENOMEM, "no memory for the io thread");
	io->vm = vm;
	pthread_mutex_init(&io->lock, NULL);
	pthread_cond_init(&io->taken, NULL);
	io->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	io->wake_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	make_ports(io);
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

static int change_port(struct ftd_vm *vm, int kind, int port, int fd, ftd_error *error)
{
	if (!vm->io)
		return ftd_fail(error, EINVAL, "the VM does not run");
	change_io(vm, (struct io_change){ .kind = kind, .port = port, .fd = fd });
	return 0;
}

int ftd_vm_console_listen(ftd_vm *vm, int fd, ftd_error *error)
{
	return change_port(vm, CHANGE_LISTENER, PORT_CONSOLE, fd, error);
}

int ftd_vm_serial_listen(ftd_vm *vm, int fd, ftd_error *error)
{
	return change_port(vm, CHANGE_LISTENER, PORT_SERIAL, fd, error);
}

int ftd_vm_serial_sink(ftd_vm *vm, int fd, ftd_error *error)
{
	return change_port(vm, CHANGE_LOG, PORT_SERIAL, fd, error);
}
