/*
 * A bare copy of memory over loopback TCP into another process's memory: what a first synchronisation is held
 * to.
 *
 *     tcpcopy [--mib 4096] [--chunk-kib 256] [--untouched]
 *
 * The sender's memfd is filled first. The receiver's memfd of the same size has its pages in place already,
 * or with --untouched gets them as the bytes come in, as a standby that starts does. Prints one line of JSON.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <getopt.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define MIB (1UL << 20)
#define DONE 'd'

static _Noreturn void die(const char *what)
{
    fprintf(stderr, "tcpcopy: %s: %s\n", what, strerror(errno));
    exit(1);
}

static double now_s(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static uint8_t *map_memory(size_t bytes, bool touched)
{
    int fd = memfd_create("tcpcopy", MFD_CLOEXEC);
    if (fd < 0 || ftruncate(fd, (off_t)bytes) != 0)
        die("memory");
    void *memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | (touched ? MAP_POPULATE : 0), fd, 0);
    if (memory == MAP_FAILED)
        die("memory");
    close(fd);
    return memory;
}

static void fill(uint8_t *memory, size_t bytes)
{
    uint64_t value = 0x9e3779b97f4a7c15UL;
    for (size_t at = 0; at < bytes; at += sizeof(value)) {
        value = value * 6364136223846793005UL + 1442695040888963407UL;
        memcpy(memory + at, &value, sizeof(value));
    }
}

static void receive_into(int fd, uint8_t *memory, size_t bytes, size_t chunk)
{
    for (size_t done = 0; done < bytes;) {
        ssize_t count = recv(fd, memory + done, bytes - done < chunk ? bytes - done : chunk, 0);
        if (count == 0) {
            errno = ECONNRESET;
            die("recv");
        }
        if (count < 0 && errno != EINTR)
            die("recv");
        if (count > 0)
            done += (size_t)count;
    }
    char done = DONE;
    if (send(fd, &done, 1, MSG_NOSIGNAL) != 1)
        die("send");
}

static void send_from(int fd, const uint8_t *memory, size_t bytes, size_t chunk)
{
    for (size_t sent = 0; sent < bytes;) {
        ssize_t count = send(fd, memory + sent, bytes - sent < chunk ? bytes - sent : chunk, MSG_NOSIGNAL);
        if (count < 0 && errno != EINTR)
            die("send");
        if (count > 0)
            sent += (size_t)count;
    }
    char done = 0;
    if (recv(fd, &done, 1, 0) != 1 || done != DONE) {
        errno = EPROTO;
        die("receiver");
    }
}

static uint64_t number(const char *text, uint64_t most)
{
    char *end;
    errno = 0;
    uint64_t value = strtoull(text, &end, 10);
    if (errno != 0 || end == text || *end != '\0' || value == 0 || value > most) {
        fprintf(stderr, "tcpcopy: %s is not a number from 1 to %lu\n", text, most);
        exit(2);
    }
    return value;
}

int main(int argc, char **argv)
{
    size_t bytes = 4096 * MIB, chunk = 256 << 10;
    bool touched = true;
    static const struct option names[] = {
        {"mib", 1, NULL, 'm'}, {"chunk-kib", 1, NULL, 'c'}, {"untouched", 0, NULL, 'u'}, {NULL, 0, NULL, 0}};
    for (int choice; (choice = getopt_long(argc, argv, "", names, NULL)) != -1;) {
        switch (choice) {
        case 'm': bytes = number(optarg, 65536) * MIB; break;
        case 'c': chunk = number(optarg, 65536) << 10; break;
        case 'u': touched = false; break;
        default: fputs("usage: tcpcopy [--mib N] [--chunk-kib N] [--untouched]\n", stderr); exit(2);
        }
    }

    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t length = sizeof(address);
    int listener = socket(AF_INET, SOCK_STREAM, 0), ready[2];
    if (listener < 0 || bind(listener, (struct sockaddr *)&address, length) != 0 || listen(listener, 1) != 0 ||
        getsockname(listener, (struct sockaddr *)&address, &length) != 0 || pipe(ready) != 0)
        die("listening socket");
    pid_t receiver = fork();
    if (receiver < 0)
        die("fork");
    if (receiver == 0) {
        close(ready[0]);
        uint8_t *memory = map_memory(bytes, touched);
        if (write(ready[1], "r", 1) != 1)
            die("pipe");
        int connection = accept(listener, NULL, NULL);
        if (connection < 0)
            die("accept");
        receive_into(connection, memory, bytes, chunk);
        _exit(0);
    }
    close(ready[1]);
    uint8_t *memory = map_memory(bytes, true);
    fill(memory, bytes);
    char byte;
    if (read(ready[0], &byte, 1) != 1)
        die("receiver did not start");
    int connection = socket(AF_INET, SOCK_STREAM, 0);
    if (connection < 0 || connect(connection, (struct sockaddr *)&address, length) != 0)
        die("connect");
    double start = now_s();
    send_from(connection, memory, bytes, chunk);
    double seconds = now_s() - start;
    int status;
    if (waitpid(receiver, &status, 0) != receiver || !WIFEXITED(status) || WEXITSTATUS(status) != 0) {
        errno = ECHILD;
        die("receiver failed");
    }
    printf("{\"bytes\": %zu, \"seconds\": %.4f, \"bytes_per_second\": %.0f}\n", bytes, seconds,
           (double)bytes / seconds);
    return 0;
}
