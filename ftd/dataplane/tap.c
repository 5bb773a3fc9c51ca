/* SPDX-License-Identifier: Apache-2.0 */
#include "tap.h"

#include <fcntl.h>
#include <stdlib.h>
#include <sys/uio.h>

#include "io.h"
#include "vm.h"

/* A turn of the io thread takes no more, so that acknowledgements and other channels get theirs. */
#define BATCHES_A_TURN 4
#define RELEASES_A_TURN 256
#define STALE_FRAMES_MAX 10000

void tap_make_device(struct ftd_vm *vm, const ftd_vm_config *config)
{
	memcpy(vm->net.mac, config->mac, sizeof(vm->net.mac));
	vm->net.mtu = config->mtu;
	vm->virtio[VIRTIO_NET].kind = &net_kind;
}

struct tap *tap_open(struct ftd_vm *vm)
{
	struct tap *tap = calloc(1, sizeof(*tap));

	if (!tap)
		return NULL;
	tap->fd = vm->net.tap_fd;
	vm->net.tap_fd = -1;
	return tap;
}

void tap_lost(struct tap *tap)
{
	if (tap->fd >= 0)
		close(tap->fd);
	tap->fd = -1;
	tap->next = tap->count = 0;
}

void tap_close(struct tap *tap)
{
	if (!tap)
		return;
	tap_lost(tap);
	free(tap);
}

/* The kernel takes a frame whole or not at all. */
static bool write_frame(int fd, const struct iovec *pieces, int piece_count)
{
	ssize_t n;

	do
		n = writev(fd, pieces, piece_count);
	while (n < 0 && errno == EINTR);
	return n >= 0;
}

bool tap_release(struct ftd_vm *vm, struct tap *tap, bool *more)
{
	struct output_channel *channel = &vm->output.channels[OUTPUT_NET];
	bool released = false;

	for (int i = 0; i < RELEASES_A_TURN; i++) {
		struct iovec pieces[2];
		uint32_t length;
		int piece_count;

		/* Judged anew for each frame: the gate may close between two. */
		if (!output_ready_total(&vm->output, channel))
			return released;
		output_pieces(channel, 0, sizeof(length), pieces);
		memcpy(&length, pieces[0].iov_base, pieces[0].iov_len);
		memcpy((char *)&length + pieces[0].iov_len, pieces[1].iov_base, pieces[1].iov_len);
		piece_count = output_pieces(channel, NET_RECORD_HEAD, length, pieces);
		/*
		 * Whatever keeps the tap from taking it (it is down, its queue is full, there is none): this is a wire,
		 * and a wire drops. Waiting would hold back a drain, and a network expects losses.
		 */
		if (tap->fd >= 0 && write_frame(tap->fd, pieces, piece_count)) {
			count(&vm->counters->net_sent, 1);
			count(&vm->counters->output_bytes_released, NET_RECORD_HEAD + length);
		} else {
			count(&vm->counters->net_sent_dropped, 1);
			count(&vm->counters->output_bytes_dropped, NET_RECORD_HEAD + length);
		}
		output_consumed(channel, NET_RECORD_HEAD + length);
		released = true;
	}
	*more = true;
	return released;
}

static void read_batch(struct tap *tap)
{
	tap->next = tap->count = 0;
	while (tap->count < TAP_BATCH) {
		struct net_frame *frame = &tap->frames[tap->count];
		ssize_t n = read(tap->fd, frame->bytes, sizeof(frame->bytes));

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return;
		frame->length = (uint32_t)n;
		tap->count++;
	}
}

bool tap_receive(struct ftd_vm *vm, struct tap *tap)
{
	for (int i = 0; i < BATCHES_A_TURN && tap->fd >= 0; i++) {
		if (tap->next == tap->count)
			read_batch(tap);	/* outside the lock, which a checkpoint waits for */
		if (!tap->count)
			return true;
		pthread_mutex_lock(&vm->devices);
		tap->next += net_receive(vm, tap->frames + tap->next, tap->count - tap->next);
		pthread_mutex_unlock(&vm->devices);
		if (tap->next < tap->count)
			return false;
	}
	return true;
}

int ftd_vm_net_attach(ftd_vm *vm, int fd, ftd_error *error)
{
	char frame[NET_FRAME_MAX];

	if (vm->running || !vm->virtio[VIRTIO_NET].kind || vm->net.tap_fd >= 0) {
		close(fd);
		return ftd_fail(error, EINVAL, "a tap is attached once, to a machine with a network device that does not run yet");
	}
	if (fcntl(fd, F_SETFL, O_NONBLOCK) < 0) {
		ftd_fail(error, errno, "setting up the tap: %s", strerror(errno));
		close(fd);
		return -1;
	}
	/* What came while this host was a standby was for the copy that ran then. */
	for (int i = 0; i < STALE_FRAMES_MAX && read(fd, frame, sizeof(frame)) > 0; i++)
		;
	vm->net.tap_fd = fd;
	return 0;
}

int ftd_vm_net_send(ftd_vm *vm, const void *frame, uint32_t length, ftd_error *error)
{
	bool fits;

	if (!vm->running || !vm->virtio[VIRTIO_NET].kind || length < NET_FRAME_MIN || length > net_frame_max(&vm->net))
		return ftd_fail(error, EINVAL, "a frame of %u bytes cannot be sent by this machine", length);
	pthread_mutex_lock(&vm->devices);
	fits = net_append(vm, frame, length);
	pthread_mutex_unlock(&vm->devices);
	if (!fits)
		return ftd_fail(error, ENOBUFS, "the output ring has no room for a frame");
	io_output_produced(vm);
	return 0;
}

void ftd_vm_net_addresses(ftd_vm *vm, unsigned char *ipv4, unsigned char *ipv6)
{
	pthread_mutex_lock(&vm->devices);
	memcpy(ipv4, vm->net.addresses.ipv4, sizeof(vm->net.addresses.ipv4));
	memcpy(ipv6, vm->net.addresses.ipv6, sizeof(vm->net.addresses.ipv6));
	pthread_mutex_unlock(&vm->devices);
}
