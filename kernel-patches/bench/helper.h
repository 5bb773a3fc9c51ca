/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The second thread, on the second processor. It runs vCPU 1 and half of what two threads harvest. It sleeps
 * between tasks; awake it spins and begins at once, as the threads of stopped vCPUs do that wait at barriers.
 */
#ifndef BENCH_HELPER_H
#define BENCH_HELPER_H

void helper_start(void);
/* Returns when it spins. */
void helper_awaken(void);
/* Awakens it if need be. */
void helper_begin(void (*task)(void *), void *argument);
/* Waits for the task's end, spinning; then the helper sleeps. */
void helper_finish(void);

#endif
