/* SPDX-License-Identifier: Apache-2.0 */
/* Shared work: each item of each job is done once, and none after the job was said to be done. */
#include <pthread.h>

#include "check.h"
#include "vm.h"

#define HELPERS 3u
#define ITEMS_MAX 3000u

struct work {
	uint32_t count;
	_Atomic bool over;
	_Atomic uint32_t done[ITEMS_MAX];
};

static _Atomic bool ended;
static _Thread_local bool is_vcpu;
static _Thread_local bool is_leader;
static _Atomic uint64_t helped;

bool vcpu_is_self(void)
{
	return is_vcpu;
}

static void do_items(struct ftd_vm *vm, void *argument, uint32_t first, uint32_t n)
{
	struct work *work = argument;

	(void)vm;
	CHECK(n && first + n <= work->count, "items %u to %u of %u", first, first + n, work->count);
	for (uint32_t i = first; i < first + n; i++)
		atomic_fetch_add(&work->done[i], 1);
	if (is_leader)
		return;
	atomic_fetch_add(&helped, n);
	if (atomic_load(&helped) % 16 == 0)
		usleep(200);	/* a helper that is late: the leader must wait for him */
	CHECK(!atomic_load(&work->over), "work goes on after its end");
}

static void *helper_main(void *argument)
{
	struct ftd_vm *vm = argument;

	is_vcpu = true;
	while (!atomic_load(&ended))
		share_help(vm);
	return NULL;
}

static void check_job(struct ftd_vm *vm, struct random *random)
{
	/* Two in turns: whoever is late finds the next job's, not his own. */
	static struct work works[2];
	struct work *work = &works[case_number % 2];
	struct share_rule rule = { .worth_from = random_below(random, 300), .piece = 1 + random_below(random, 64) };

	atomic_store(&work->over, false);
	work->count = random_below(random, random_one_in(random, 10) ? ITEMS_MAX + 1 : 300);
	for (uint32_t i = 0; i < work->count; i++)
		atomic_store(&work->done[i], 0);
	is_vcpu = !random_one_in(random, 20);
	share_post(vm, rule, work->count, do_items, work);
	atomic_store(&work->over, true);
	for (uint32_t i = 0; i < work->count; i++)
		CHECK(atomic_load(&work->done[i]) == 1, "item %u was done %u times", i, atomic_load(&work->done[i]));
}

int main(int argc, char **argv)
{
	struct random random = { argument_or(argc, argv, 1, 1) };
	uint64_t jobs = argument_or(argc, argv, 2, 20000);
	struct ftd_vm *vm = calloc(1, sizeof(*vm));
	pthread_t helpers[HELPERS];

	CHECK(vm, "no memory");
	vm->vcpu_count = HELPERS + 1;
	is_leader = true;
	for (uint32_t i = 0; i < HELPERS; i++)
		CHECK(pthread_create(&helpers[i], NULL, helper_main, vm) == 0, "no thread");
	for (case_number = 0; case_number < jobs; case_number++)
		check_job(vm, &random);
	atomic_store(&ended, true);
	for (uint32_t i = 0; i < HELPERS; i++)
		pthread_join(helpers[i], NULL);
	CHECK(atomic_load(&helped), "nobody helped");
	free(vm);
	return 0;
}
