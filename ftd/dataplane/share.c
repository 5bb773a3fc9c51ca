/* SPDX-License-Identifier: Apache-2.0 */
#include "share.h"

#include "vm.h"

void share_help(struct ftd_vm *vm)
{
	struct share_job *job = &vm->job;
	uint64_t claim = atomic_load_explicit(&job->claim, memory_order_acquire);

	for (;;) {
		uint32_t first = (uint32_t)claim, n;

		if (first >= job->count)
			return;
		/* Fails when another took the piece, or when the job changed under us. */
		if (!atomic_compare_exchange_weak_explicit(&job->claim, &claim, claim + job->piece,
							   memory_order_acq_rel, memory_order_acquire))
			continue;
		n = (uint32_t)min_u64(job->piece, job->count - first);
		job->work(vm, job->argument, first, n);
		atomic_fetch_add_explicit(&job->done, n, memory_order_release);
		claim = atomic_load_explicit(&job->claim, memory_order_acquire);
	}
}

void share_post(struct ftd_vm *vm, struct share_rule rule, uint32_t item_count, share_work work, void *argument)
{
	struct share_job *job = &vm->job;
	uint64_t number = (atomic_load_explicit(&job->claim, memory_order_relaxed) >> 32) + 1;

	if (vm->vcpu_count == 1 || item_count < rule.worth_from || !vcpu_is_self()) {
		if (item_count)
			work(vm, argument, 0, item_count);
		return;
	}
	/*
	 * Exhausted first, under a new number: a helper that still looks at the
	 * last job cannot claim from a half-written one.
	 */
	atomic_store_explicit(&job->claim, number << 32 | UINT32_MAX, memory_order_seq_cst);
	job->count = item_count;
	job->piece = rule.piece;
	job->work = work;
	job->argument = argument;
	atomic_store_explicit(&job->done, 0, memory_order_relaxed);
	atomic_store_explicit(&job->claim, (number + 1) << 32, memory_order_release);
	atomic_fetch_add(&vm->news, 1);
	futex_wake(&vm->news, VCPUS_MAX);
	share_help(vm);
	while (atomic_load_explicit(&job->done, memory_order_acquire) < item_count)
		__builtin_ia32_pause();
}
