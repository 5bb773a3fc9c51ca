// SPDX-License-Identifier: GPL-2.0-only
/* How many entries a list gets beyond its threshold before all vCPUs are out of the guest. */
#include <stdio.h>

#include "benches.h"
#include "guest.h"
#include <linux/kvm_mt.h>
#include "machines.h"
#include "sys.h"

#define MEMORY_BYTES	(64UL << 20)
#define MEMORY_PAGES	(MEMORY_BYTES / PAGE_BYTES)
#define THRESHOLD	500

/* The guest is at its next run of pages: without end as far as one list goes. */
static uint32_t fill_list(struct machine *machine, const struct touch *touch)
{
	guest_aim_touch(&machine->vm, touch);
	vm_run_all(&machine->vm);
	if (!vm_all_left_for(&machine->vm, KVM_EXIT_MEMORY_TRACKING))
		return 0;	/* it died: this list says nothing */
	return mt_listed(&machine->tracker);
}

static void run_with(int kvm_fd, unsigned int vcpus, unsigned int rounds)
{
	struct touch touch = { .memory_pages = MEMORY_PAGES, .pages = MEMORY_PAGES };
	struct machine machine;
	uint32_t most = 0;

	machine_create(&machine, kvm_fd, TRACKER_MT, MEMORY_BYTES, vcpus);
	mt_set_threshold(&machine.tracker, THRESHOLD);
	for (unsigned int round = 0; round < rounds; round++) {
		uint32_t listed = fill_list(&machine, &touch);
		struct kvm_mt_prepare sealed = mt_seal(&machine.tracker, 0);

		if (listed && listed < THRESHOLD)
			die("the guest was stopped with %u pages listed, below the threshold of %d", listed,
			    THRESHOLD);
		if (listed && sealed.count > most)
			most = sealed.count;
		mt_rearm(&machine.tracker, sealed.epoch, 0, sealed.count);
	}
	printf("{\"kind\": \"overshoot\", \"vcpus\": %u, \"threshold\": %d, \"rounds\": %u, "
	       "\"over_max\": %u}\n", vcpus, THRESHOLD, rounds, most - THRESHOLD);
	fflush(stdout);
	machine_destroy(&machine);
}

void bench_overshoot(int kvm_fd, const struct options *options)
{
	if (!tracker_supported(kvm_fd, TRACKER_MT))
		return;
	for (unsigned int vcpus = 1; vcpus <= VCPUS_MAX; vcpus++)
		run_with(kvm_fd, vcpus, options->overshoot_rounds);
}
