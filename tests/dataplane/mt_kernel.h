/* SPDX-License-Identifier: Apache-2.0 */
/* KVM's side of memory tracking, as linux/kvm_mt.h has it: ioctl() of the program ends here. */
#ifndef FTD_TEST_MT_KERNEL_H
#define FTD_TEST_MT_KERNEL_H

#include <stdbool.h>
#include <stdint.h>

/* The guest has so many pages, half of them below the hole, half above it. */
#define MT_PAGES 6000u
#define MT_VM_FD 1000000

struct mt_kernel {
	int fd;				/* the MT fd; -1: none */
	uint64_t *lists;
	uint32_t max, threshold, filling, count, sealed_count;
	uint64_t epoch;
	bool enabled, overflow;
	bool tracked[MT_PAGES];		/* written since it was armed: writable, and not listed again */
	uint32_t seals, rearms;		/* calls */
	uint32_t fail_at;		/* this many calls from now fails; 0: none */
	bool leave_invalid;		/* entries are never finished */
};

extern struct mt_kernel mt_kernel;

/* A page of the guest by our count from 0 on: its index in the image. */
uint64_t mt_page(uint32_t number);
uint32_t mt_number(uint64_t page);
/* A vCPU writes to it. */
void mt_kernel_write(uint32_t number);

#endif
