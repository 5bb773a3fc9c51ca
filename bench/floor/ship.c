#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#include "floor.h"

#define FIFO_PRIORITY 5

struct header {
    uint64_t magic;
    uint64_t epoch;
    uint64_t body_bytes;
    uint64_t padding[7];
};
_Static_assert(sizeof(struct header) == HEADER_BYTES, "as long as the product's");

/* 1 when all of it came, 0 at the end of the stream. */
static int receive_all(int fd, void *buffer, size_t bytes)
{
    for (size_t done = 0; done < bytes;) {
        ssize_t count = recv(fd, (char *)buffer + done, bytes - done, 0);
        if (count == 0 || (count < 0 && errno == ECONNRESET))
            return 0;
        if (count < 0 && errno != EINTR)
            die("recv");
        if (count > 0)
            done += (size_t)count;
    }
    return 1;
}

static void send_all(int fd, struct iovec *parts, size_t count)
{
    while (count > 0) {
        struct msghdr message = {.msg_iov = parts, .msg_iovlen = count};
        ssize_t sent = sendmsg(fd, &message, MSG_NOSIGNAL);
        if (sent < 0 && errno == EINTR)
            continue;
        if (sent < 0)
            die("sendmsg");
        size_t rest = (size_t)sent;
        while (count > 0 && rest >= parts->iov_len) {
            rest -= parts->iov_len;
            parts++;
            count--;
        }
        if (count > 0) {
            parts->iov_base = (char *)parts->iov_base + rest;
            parts->iov_len -= rest;
        }
    }
}

static void receive_epochs(int fd, size_t body_bytes_max)
{
    uint8_t *body = allocate(body_bytes_max, "receiver's buffer");
    struct header header;

    while (receive_all(fd, &header, sizeof(header))) {
        if (header.body_bytes > body_bytes_max) {
            errno = EMSGSIZE;
            die("receiver");
        }
        if (!receive_all(fd, body, header.body_bytes))
            return;
        struct iovec ack = {.iov_base = &header, .iov_len = sizeof(header)};
        send_all(fd, &ack, 1);
    }
}

static int without_delay(int fd)
{
    int on = 1;
    if (fd < 0 || setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on)) != 0)
        die("TCP_NODELAY");
    return fd;
}

void shipping_connect(struct shipping *shipping, size_t state_bytes, bool fifo)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t length = sizeof(address);
    int listener = socket(AF_INET, SOCK_STREAM, 0);

    if (listener < 0 || bind(listener, (struct sockaddr *)&address, length) != 0 || listen(listener, 1) != 0 ||
        getsockname(listener, (struct sockaddr *)&address, &length) != 0)
        die("listening socket");
    shipping->state_bytes = state_bytes;
    shipping->receiver = fork();
    if (shipping->receiver < 0)
        die("fork");
    if (shipping->receiver == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (fifo)
            use_fifo(FIFO_PRIORITY);
        receive_epochs(without_delay(accept(listener, NULL, NULL)), state_bytes + ARENA_PAGES * (8 + PAGE_BYTES));
        _exit(0);
    }
    shipping->socket = without_delay(socket(AF_INET, SOCK_STREAM, 0));
    if (connect(shipping->socket, (struct sockaddr *)&address, length) != 0)
        die("connect");
    close(listener);
}

static void send_arena(struct shipping *shipping, uint32_t epoch)
{
    struct arena *arena = &shipping->arenas[epoch % ARENAS];
    size_t list_bytes = arena->page_count * sizeof(arena->list[0]);
    size_t pages_bytes = arena->page_count * PAGE_BYTES;
    struct header header = {
        .magic = 1, .epoch = epoch, .body_bytes = shipping->state_bytes + list_bytes + pages_bytes};
    memcpy(arena->header, &header, sizeof(header));
    struct iovec parts[] = {
        {arena->header, HEADER_BYTES},
        {arena->state, shipping->state_bytes},
        {arena->list, list_bytes},
        {arena->pages, pages_bytes},
    };
    send_all(shipping->socket, parts, 4);
}

static void *run_sender(void *context)
{
    struct shipping *shipping = context;
    if (shipping->fifo)
        use_fifo(FIFO_PRIORITY);
    for (uint32_t sent = 0;; sent++) {
        turnstile_wait_past(&shipping->sealed, sent);
        if (atomic_load(&shipping->stopping))
            return NULL;
        send_arena(shipping, sent);
    }
}

static void *run_acknowledger(void *context)
{
    struct shipping *shipping = context;
    struct header ack;
    if (shipping->fifo)
        use_fifo(FIFO_PRIORITY);
    while (receive_all(shipping->socket, &ack, sizeof(ack)))
        turnstile_advance(&shipping->acked);
    return NULL;
}

void shipping_start(struct shipping *shipping, bool self_send, bool fifo)
{
    shipping->self_send = self_send;
    shipping->fifo = fifo;
    for (unsigned i = 0; i < ARENAS; i++) {
        shipping->arenas[i].state = allocate(shipping->state_bytes, "arena");
        shipping->arenas[i].list = allocate(ARENA_PAGES * sizeof(uint64_t), "arena");
        shipping->arenas[i].pages = allocate(ARENA_PAGES * PAGE_BYTES, "arena");
    }
    if (!self_send && (errno = pthread_create(&shipping->sender, NULL, run_sender, shipping)) != 0)
        die("sender thread");
    if ((errno = pthread_create(&shipping->acknowledger, NULL, run_acknowledger, shipping)) != 0)
        die("ack thread");
}

struct arena *shipping_acquire(struct shipping *shipping, uint64_t *stalled_ns)
{
    uint32_t sealed = atomic_load(&shipping->sealed.count);
    *stalled_ns = 0;
    for (;;) {
        uint32_t acked = atomic_load(&shipping->acked.count);
        if (sealed - acked < ARENAS)
            return &shipping->arenas[sealed % ARENAS];
        uint64_t start = now_ns();
        turnstile_wait_past(&shipping->acked, acked);
        *stalled_ns += now_ns() - start;
    }
}

void shipping_seal(struct shipping *shipping)
{
    if (shipping->self_send)
        send_arena(shipping, atomic_load(&shipping->sealed.count));
    turnstile_advance(&shipping->sealed);
}

void shipping_stop(struct shipping *shipping)
{
    atomic_store(&shipping->stopping, true);
    turnstile_advance(&shipping->sealed);
    if (!shipping->self_send)
        pthread_join(shipping->sender, NULL);
    shutdown(shipping->socket, SHUT_WR); /* the receiver ends, closes, and so ends the ack thread */
    pthread_join(shipping->acknowledger, NULL);
    close(shipping->socket);
    waitpid(shipping->receiver, NULL, 0);
}
