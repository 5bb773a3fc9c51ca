/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Preloaded: counts malloc, calloc, realloc, free, mmap and munmap of each
 * thread, by the name that the thread has when it first allocates or asks.
 * allocations_of(NAME) sums over the threads of a name, the ended ones too.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stddef.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/types.h>
#include <unistd.h>

enum { NAMES_MAX = 64, NAME_BYTES = 16 };

static struct {
	char name[NAME_BYTES];
	_Atomic unsigned long count;
} counters[NAMES_MAX];
static _Atomic int used;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

/* By name, looked up each time: a thread is named after it was started. */
static _Atomic unsigned long *counter_of(const char *name)
{
	int n;

	pthread_mutex_lock(&lock);
	n = atomic_load(&used);
	for (int i = 0; i < n; i++) {
		if (strncmp(counters[i].name, name, NAME_BYTES) == 0) {
			pthread_mutex_unlock(&lock);
			return &counters[i].count;
		}
	}
	if (n == NAMES_MAX)
		n--;
	else
		atomic_store(&used, n + 1);
	strncpy(counters[n].name, name, NAME_BYTES - 1);
	pthread_mutex_unlock(&lock);
	return &counters[n].count;
}

static void note(void)
{
	char name[NAME_BYTES] = "";

	prctl(PR_GET_NAME, name);
	atomic_fetch_add(counter_of(getpid() == gettid() ? "main" : name), 1);
}

unsigned long allocations_of(const char *name);
unsigned long allocations_of(const char *name)
{
	return atomic_load(counter_of(name));
}

extern void *__libc_malloc(size_t);
extern void *__libc_calloc(size_t, size_t);
extern void *__libc_realloc(void *, size_t);
extern void __libc_free(void *);

void *malloc(size_t bytes)
{
	note();
	return __libc_malloc(bytes);
}

void *calloc(size_t count, size_t bytes)
{
	note();
	return __libc_calloc(count, bytes);
}

void *realloc(void *memory, size_t bytes)
{
	note();
	return __libc_realloc(memory, bytes);
}

void free(void *memory)
{
	if (memory)
		note();
	__libc_free(memory);
}

void *mmap(void *address, size_t bytes, int protection, int flags, int fd, off_t offset)
{
	static void *(*next)(void *, size_t, int, int, int, off_t);

	if (!next)
		*(void **)&next = dlsym(RTLD_NEXT, "mmap");
	note();
	return next(address, bytes, protection, flags, fd, offset);
}

int munmap(void *address, size_t bytes)
{
	static int (*next)(void *, size_t);

	if (!next)
		*(void **)&next = dlsym(RTLD_NEXT, "munmap");
	note();
	return next(address, bytes);
}
