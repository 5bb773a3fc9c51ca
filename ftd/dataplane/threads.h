/* SPDX-License-Identifier: Apache-2.0 */
/* Native threads: named, and with all signals blocked, so that those of the process go to Python's main thread. */
#ifndef FTD_THREADS_H
#define FTD_THREADS_H

#include <pthread.h>
#include <sys/types.h>

/* 0 or an errno. `tid`, if given, is set before it returns. */
int thread_start(pthread_t *thread, const char *name, void *(*main)(void *), void *argument, _Atomic pid_t *tid);

#endif
