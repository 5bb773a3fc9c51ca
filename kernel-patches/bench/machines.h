/* SPDX-License-Identifier: GPL-2.0-only */
/* VMs with their trackers. */
#ifndef BENCH_MACHINES_H
#define BENCH_MACHINES_H

#include "trackers.h"
#include "vm.h"

struct machine {
	struct vm vm;
	struct tracker tracker;
};

void machine_create(struct machine *machine, int kvm_fd, enum tracker_kind kind, uint64_t bytes,
		    unsigned int vcpus);
void machine_destroy(struct machine *machine);

#endif
