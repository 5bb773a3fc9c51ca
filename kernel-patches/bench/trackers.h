/* SPDX-License-Identifier: GPL-2.0-only */
/* The ways to learn which pages were written, each as one call that also arms them again. */
#ifndef BENCH_TRACKERS_H
#define BENCH_TRACKERS_H

#include <stdint.h>

#include "vm.h"

/* As many as KVM allows: no round may find its ring full. */
#define RING_ENTRIES	65536
#define LIST_MAX	65536

enum tracker_kind { TRACKER_RING, TRACKER_BITMAP, TRACKER_BITMAP_MANUAL, TRACKER_MT, TRACKER_KINDS };

/* One VM's tracker. Only the fields of its kind are set. */
struct tracker {
	enum tracker_kind kind;
	struct vm *vm;
	struct kvm_dirty_gfn *rings[VCPUS_MAX];
	uint32_t ring_next[VCPUS_MAX];
	uint64_t *bitmap;
	int mt_fd;
	const uint64_t *mt_lists;
};

struct harvest {
	uint64_t *gfns;
	uint32_t count;
	uint64_t listed_ns;	/* when gfns were complete, CLOCK_MONOTONIC */
};

struct method {
	const char *name;
	enum tracker_kind kind;
	/* All vCPUs are out of KVM_RUN. */
	void (*run)(struct tracker *tracker, struct harvest *harvest);
};

extern const struct method methods[];
extern const unsigned int method_count;

/* Whether this kernel has it. */
int tracker_supported(int kvm_fd, enum tracker_kind kind);
/* Before any vCPU and slot of the VM is there: rings and manual protection cannot be enabled later. */
void tracker_prepare(enum tracker_kind kind, int vm_fd);
/* After vCPUs and slots are there. */
void tracker_start(struct tracker *tracker, enum tracker_kind kind, struct vm *vm);
void tracker_stop(struct tracker *tracker);

/* methods_mt.c, for the benches that are about MT alone */
struct kvm_mt_prepare mt_seal(const struct tracker *tracker, uint32_t flags);
void mt_rearm(const struct tracker *tracker, uint64_t epoch, uint32_t start, uint32_t count);
void mt_set_threshold(const struct tracker *tracker, uint32_t threshold);
uint32_t mt_listed(const struct tracker *tracker);
void run_mt(struct tracker *tracker, struct harvest *harvest);
void run_mt_fetch(struct tracker *tracker, struct harvest *harvest);
void run_mt_two_threads(struct tracker *tracker, struct harvest *harvest);

/* methods_log.c */
void run_ring(struct tracker *tracker, struct harvest *harvest);
void run_bitmap(struct tracker *tracker, struct harvest *harvest);
void run_bitmap_manual(struct tracker *tracker, struct harvest *harvest);

#endif
