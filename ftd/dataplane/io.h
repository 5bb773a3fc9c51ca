/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The io thread: one epoll loop that takes acknowledgements, lets output go
 * and feeds the console. It lives as long as the VM runs.
 */
#ifndef FTD_IO_H
#define FTD_IO_H

#include <sys/types.h>

#include "base.h"

struct ftd_vm;
struct ftd_primary;

int io_start(struct ftd_vm *vm, ftd_error *error);
void io_stop(struct ftd_vm *vm);	/* no output leaves after it returns */
/* The pair whose acknowledgements are to be read, or NULL. Returns when the io thread has taken it up. */
void io_set_link(struct ftd_vm *vm, struct ftd_primary *primary);
void io_wake(struct ftd_vm *vm);
pid_t io_thread_id(const struct ftd_vm *vm);	/* 0: the VM does not run */

/* From the device model, with vm->devices held. */
void io_output_produced(struct ftd_vm *vm);	/* may leave at once if there is no gate */
void io_input_wanted(struct ftd_vm *vm);	/* the guest offered buffers */

#endif
