/* SPDX-License-Identifier: Apache-2.0 */
/* A machine without KVM: guest memory on the heap, counters, events, output rings. */
#ifndef FTD_TEST_STUB_MACHINE_H
#define FTD_TEST_STUB_MACHINE_H

#include "vm.h"

struct ftd_vm *stub_machine_make(uint64_t memory_bytes);
void stub_machine_free(struct ftd_vm *vm);

/* A connected pair of stream sockets; [1] is for the test and does not block. */
void stub_sockets(int fds[2]);

#endif
