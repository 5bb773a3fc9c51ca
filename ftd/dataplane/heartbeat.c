/* SPDX-License-Identifier: Apache-2.0 */
#define _GNU_SOURCE
#include "heartbeat.h"

#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>

#include "threads.h"

#define BUFFERED_FRAMES 8
/*
 * Silence does not count before the peer spoke first, or this long: after the
 * handshake it still allocates its arenas, which takes a multiple of a short
 * timeout on a busy host. Until then nothing is protected that could be lost.
 */
#define FIRST_BEAT_NS (5000 * FTD_MS)

struct beat_stream {
	char in[BUFFERED_FRAMES * sizeof(struct frame_header)];
	char out[BUFFERED_FRAMES * sizeof(struct frame_header)];
	size_t in_len, out_len;
	bool broken;	/* no more heartbeats: the timeout decides */
};

static void report(struct heartbeat *heartbeat, uint32_t reason, int64_t detail)
{
	/* First stop answering, then tell. */
	atomic_store(&heartbeat->stop, true);
	heartbeat->lost(heartbeat->context, reason, detail);
}

static void flush(struct heartbeat *heartbeat, struct beat_stream *stream)
{
	while (stream->out_len > 0 && !stream->broken) {
		ssize_t n = send(heartbeat->fd, stream->out, stream->out_len, MSG_NOSIGNAL | MSG_DONTWAIT);

		if (n < 0) {
			if (errno == EINTR)
				continue;
			stream->broken = errno != EAGAIN && errno != EWOULDBLOCK;
			return;
		}
		stream->out_len -= (size_t)n;
		memmove(stream->out, stream->out + n, stream->out_len);
	}
}

/* A frame that does not fit is dropped: the peer is not reading, a later one says the same. */
static void put(struct heartbeat *heartbeat, struct beat_stream *stream, uint32_t flags, uint64_t stamp_ns)
{
	struct frame_header header;

	if (stream->out_len + sizeof(header) > sizeof(stream->out))
		return;
	frame_prepare(&header, &heartbeat->rules, FRAME_HEARTBEAT, 0);
	header.flags = flags | (heartbeat->standby ? HEARTBEAT_STANDBY : 0);
	header.stamp_ns = stamp_ns;
	frame_seal(&header);
	memcpy(stream->out + stream->out_len, &header, sizeof(header));
	stream->out_len += sizeof(header);
	count(&heartbeat->counters->heartbeats_sent, 1);
	flush(heartbeat, stream);
}

static void take_proof(struct heartbeat *heartbeat, uint64_t stamp_ns)
{
	uint64_t now = now_ns();

	output_proof(heartbeat->output, stamp_ns, now);
	if (stamp_ns <= now)
		count_set(&heartbeat->counters->echo_ns, now - stamp_ns);
}

static void take(struct heartbeat *heartbeat, struct beat_stream *stream, const struct frame_header *header)
{
	const struct frame_position nowhere = { 0 };
	enum refusal refusal = frame_check_header(header, &heartbeat->rules, &nowhere);

	if (refusal) {
		count(&heartbeat->counters->refused[refusal], 1);
		report(heartbeat, FTD_LOST_REFUSED, (int64_t)refusal);
		return;
	}
	count(&heartbeat->counters->heartbeats_received, 1);
	heartbeat_heard(heartbeat);
	if (!(header->flags & HEARTBEAT_ECHO)) {
		heartbeat->echoed_ns = now_ns();
		put(heartbeat, stream, HEARTBEAT_ECHO, header->stamp_ns);
	} else if (heartbeat->output && (header->flags & HEARTBEAT_STANDBY)) {
		take_proof(heartbeat, header->stamp_ns);
	}
}

static void receive(struct heartbeat *heartbeat, struct beat_stream *stream)
{
	ssize_t n = recv(heartbeat->fd, stream->in + stream->in_len, sizeof(stream->in) - stream->in_len, MSG_DONTWAIT);
	size_t at = 0;

	if (n == 0) {
		report(heartbeat, FTD_LOST_CLOSED, 0);
		return;
	}
	if (n < 0) {
		if (errno == EAGAIN || errno == EINTR)
			return;
		stream->broken = true;
		/*
		 * ECONNRESET: the peer's socket is gone, as with a close; its kernel
		 * resets instead of closing when something was left unread, which is
		 * how most killed processes end. Other errors (no route, timed out)
		 * come from the path between: the active side asks the arbiter at
		 * once, a standby waits out the timeout, because a primary that
		 * lives may until then let acknowledged output go.
		 */
		heartbeat->path_broken = errno != ECONNRESET;
		if (errno == ECONNRESET || !heartbeat->standby)
			report(heartbeat, FTD_LOST_RESET, errno);
		return;
	}
	stream->in_len += (size_t)n;
	for (; stream->in_len - at >= sizeof(struct frame_header) && !atomic_load(&heartbeat->stop);
	     at += sizeof(struct frame_header)) {
		struct frame_header header;

		memcpy(&header, stream->in + at, sizeof(header));
		take(heartbeat, stream, &header);
	}
	stream->in_len -= at;
	memmove(stream->in, stream->in + at, stream->in_len);
}

static void wait_for_news(struct heartbeat *heartbeat, const struct beat_stream *stream, uint64_t until_ns)
{
	struct pollfd fds[2] = {
		{ .fd = stream->broken ? -1 : heartbeat->fd,
		  .events = (short)(stream->out_len ? POLLIN | POLLOUT : POLLIN) },
		{ .fd = heartbeat->wake_fd, .events = POLLIN },
	};
	uint64_t now = now_ns(), left = until_ns > now ? until_ns - now : 0;
	struct timespec timeout = { .tv_sec = (time_t)(left / 1000000000ull), .tv_nsec = (long)(left % 1000000000ull) };

	ppoll(fds, ARRAY_SIZE(fds), &timeout, NULL);
}

/* Only counted here, and a fresh proof asked for: whoever lets output go judges for himself. */
static bool fell_into_doubt(struct heartbeat *heartbeat)
{
	bool before = heartbeat->in_doubt;

	heartbeat->in_doubt = heartbeat->output && output_in_doubt(heartbeat->output);
	if (!heartbeat->in_doubt || before)
		return false;
	count(&heartbeat->counters->doubts, 1);
	return true;
}

static void *heartbeat_main(void *argument)
{
	struct heartbeat *heartbeat = argument;
	struct beat_stream stream = { 0 };
	uint64_t ran_ns = now_ns(), next_ns = ran_ns;

	while (!atomic_load(&heartbeat->stop)) {
		uint64_t now = now_ns(), heard;

		/*
		 * We did not run for a while (stopped, or the host paused): what the
		 * peer sent meanwhile is still to be read, so silence is counted anew.
		 */
		if (now - ran_ns > heartbeat->timeout_ns / 2 && atomic_load(&heartbeat->heard_ns) < now)
			atomic_store(&heartbeat->heard_ns, now);
		ran_ns = now;
		if (fell_into_doubt(heartbeat))
			next_ns = now;
		if (heartbeat->tick)
			heartbeat->tick(heartbeat->context);
		if (now >= next_ns) {
			put(heartbeat, &stream, 0, now);
			next_ns = now + heartbeat->interval_ns;
		}
		heard = atomic_load(&heartbeat->heard_ns);
		if (now > heard && now - heard > heartbeat->timeout_ns) {
			report(heartbeat, FTD_LOST_SILENT, (int64_t)(now - heard));
			break;
		}
		wait_for_news(heartbeat, &stream, min_u64(next_ns, heard + heartbeat->timeout_ns + 1));
		flush(heartbeat, &stream);
		if (!stream.broken && !atomic_load(&heartbeat->stop))
			receive(heartbeat, &stream);
	}
	return NULL;
}

int heartbeat_start(struct heartbeat *heartbeat, ftd_error *error)
{
	int result;

	heartbeat->rules.allowed = FRAME_BIT(FRAME_HEARTBEAT);
	atomic_store(&heartbeat->heard_ns, now_ns() + FIRST_BEAT_NS);
	heartbeat->wake_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	if (heartbeat->wake_fd < 0)
		return ftd_fail(error, errno, "making an eventfd: %s", strerror(errno));
	result = thread_start(&heartbeat->thread, "heartbeat", heartbeat_main, heartbeat, &heartbeat->tid);
	if (result) {
		close(heartbeat->wake_fd);
		return ftd_fail(error, result, "starting the heartbeat thread: %s", strerror(result));
	}
	heartbeat->started = true;
	return 0;
}

void heartbeat_stop(struct heartbeat *heartbeat)
{
	uint64_t one = 1;

	if (!heartbeat->started)
		return;
	atomic_store(&heartbeat->stop, true);
	while (write(heartbeat->wake_fd, &one, sizeof(one)) < 0 && errno == EINTR)
		;
	pthread_join(heartbeat->thread, NULL);
	heartbeat->started = false;
	close(heartbeat->wake_fd);
}

/* What the peer still sends is of no interest, only its end. */
static bool has_closed(struct heartbeat *heartbeat)
{
	char ignored[BUFFERED_FRAMES * sizeof(struct frame_header)];
	ssize_t n = recv(heartbeat->fd, ignored, sizeof(ignored), MSG_DONTWAIT);

	if (n < 0 && errno != EAGAIN && errno != EINTR && errno != ECONNRESET)
		heartbeat->path_broken = true;
	return n == 0 || (n < 0 && errno == ECONNRESET);
}

void heartbeat_outwait(struct heartbeat *heartbeat)
{
	uint64_t until_ns = heartbeat->echoed_ns + heartbeat->timeout_ns, now;

	while ((now = now_ns()) < until_ns) {
		/* On a broken path every read looks like the end: then only time tells. */
		struct pollfd end = { .fd = heartbeat->path_broken ? -1 : heartbeat->fd, .events = POLLIN };
		uint64_t left = until_ns - now;
		struct timespec timeout = { .tv_sec = (time_t)(left / 1000000000ull),
					    .tv_nsec = (long)(left % 1000000000ull) };

		if (ppoll(&end, 1, &timeout, NULL) > 0 && has_closed(heartbeat))
			return;
	}
}
