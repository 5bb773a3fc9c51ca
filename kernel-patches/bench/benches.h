/* SPDX-License-Identifier: GPL-2.0-only */
/* What is measured. Each prints JSON lines; bench/kernel/samples.py says what their fields mean. */
#ifndef BENCH_BENCHES_H
#define BENCH_BENCHES_H

#include <stdint.h>

struct options {
	unsigned int rounds;		/* of each case, after one that is not recorded */
	uint64_t memory_max_mib;	/* larger memories are left out */
	uint64_t pages_max;		/* more dirty pages are left out */
	unsigned int overshoot_rounds;
	unsigned int hot_seconds;
	unsigned int hot_rate;		/* checkpoints a second */
};

void print_host(int kvm_fd);
void bench_cycles(int kvm_fd, const struct options *options);
void bench_overshoot(int kvm_fd, const struct options *options);
void bench_hot_set(int kvm_fd, const struct options *options);

#endif
