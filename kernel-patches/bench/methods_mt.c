// SPDX-License-Identifier: GPL-2.0-only
/* Memory tracking: the mapped list, the fetched one, and two threads. */
#include "helper.h"
#include <linux/kvm_mt.h>
#include "sys.h"
#include "trackers.h"

struct kvm_mt_prepare mt_seal(const struct tracker *tracker, uint32_t flags)
{
	struct kvm_mt_prepare prepare = { .flags = flags };

	checked_ioctl(tracker->mt_fd, KVM_MT_PREPARE, &prepare, "KVM_MT_PREPARE");
	if (prepare.status)
		die("KVM_MT_PREPARE: status %#x: the list of %d entries overflowed", prepare.status,
		    LIST_MAX);
	return prepare;
}

void mt_rearm(const struct tracker *tracker, uint64_t epoch, uint32_t start, uint32_t count)
{
	struct kvm_mt_rearm rearm = { .epoch = epoch, .start = start, .count = count };

	if (count)
		checked_ioctl(tracker->mt_fd, KVM_MT_REARM, &rearm, "KVM_MT_REARM");
}

void mt_set_threshold(const struct tracker *tracker, uint32_t threshold)
{
	struct kvm_mt_threshold wanted = { .threshold = threshold };

	checked_ioctl(tracker->mt_fd, KVM_MT_THRESHOLD, &wanted, "KVM_MT_THRESHOLD");
}

uint32_t mt_listed(const struct tracker *tracker)
{
	struct kvm_mt_status status;

	checked_ioctl(tracker->mt_fd, KVM_MT_STATUS, &status, "KVM_MT_STATUS");
	return status.count;
}

/* Reads entries [start, start + count) of the sealed half of the mapping. */
static void read_mapped(const struct tracker *tracker, uint32_t half, uint32_t start, uint32_t count,
			struct harvest *harvest)
{
	const uint64_t *entries = tracker->mt_lists + (uint64_t)half * LIST_MAX;

	for (uint32_t i = start; i < start + count; i++) {
		uint64_t entry = __atomic_load_n(&entries[i], __ATOMIC_ACQUIRE);

		if (!(entry & KVM_MT_ENTRY_VALID))
			die("sealed list: entry %u is not valid though no vCPU runs", i);
		harvest->gfns[i] = KVM_MT_ENTRY_GFN(entry);
	}
}

/* Sealed and armed again in one request: all vCPUs stand, so nothing is written before it is read. */
void run_mt(struct tracker *tracker, struct harvest *harvest)
{
	struct kvm_mt_prepare sealed = mt_seal(tracker, KVM_MT_PREPARE_REARM);

	read_mapped(tracker, sealed.list, 0, sealed.count, harvest);
	harvest->count = sealed.count;
	harvest->listed_ns = now_ns();
}

void run_mt_fetch(struct tracker *tracker, struct harvest *harvest)
{
	struct kvm_mt_prepare sealed = mt_seal(tracker, 0);
	struct kvm_mt_fetch fetch = {
		.epoch = sealed.epoch,
		.gfns = (uint64_t)harvest->gfns,
		.count = sealed.count,
	};

	if (sealed.count)
		checked_ioctl(tracker->mt_fd, KVM_MT_FETCH, &fetch, "KVM_MT_FETCH");
	for (uint32_t i = 0; i < fetch.count; i++)
		harvest->gfns[i] = KVM_MT_ENTRY_GFN(harvest->gfns[i]);
	harvest->count = fetch.count;
	harvest->listed_ns = now_ns();
	mt_rearm(tracker, sealed.epoch, 0, sealed.count);
}

struct half {
	const struct tracker *tracker;
	const struct kvm_mt_prepare *sealed;
	struct harvest *harvest;
};

static void rearm_share(const struct tracker *tracker, uint64_t epoch, uint32_t share, uint32_t shares)
{
	struct kvm_mt_rearm rearm = { .epoch = epoch, .start = share, .count = shares, .flags = KVM_MT_REARM_SHARE };

	checked_ioctl(tracker->mt_fd, KVM_MT_REARM, &rearm, "KVM_MT_REARM");
}

static void second_half(void *argument)
{
	const struct half *half = argument;
	uint32_t start = half->sealed->count / 2, count = half->sealed->count - start;

	read_mapped(half->tracker, half->sealed->list, start, count, half->harvest);
	rearm_share(half->tracker, half->sealed->epoch, 1, 2);
}

void run_mt_two_threads(struct tracker *tracker, struct harvest *harvest)
{
	struct kvm_mt_prepare sealed = mt_seal(tracker, 0);
	struct half half = { .tracker = tracker, .sealed = &sealed, .harvest = harvest };

	helper_begin(second_half, &half);
	read_mapped(tracker, sealed.list, 0, sealed.count / 2, harvest);
	harvest->count = sealed.count;
	harvest->listed_ns = now_ns();
	rearm_share(tracker, sealed.epoch, 0, 2);
	helper_finish();
}
