// SPDX-License-Identifier: GPL-2.0-only
/*
 * Listing dirty pages and arming them again, every method on the same pages. All machines of all memory sizes
 * exist at once and a round goes through them in turn, so that a drifting host treats them alike.
 *
 * Software emulation empties its TLB, and its cache of translated code, whenever a guest is entered or left;
 * processors do not. The first system call after that takes 42 us instead of 5, whatever it does, and so does
 * each part of the kernel that runs for the first time. So before the clock starts each method lists and arms
 * a few pages of another machine, its twin. Few pages are measured without that, too, and called cold.
 */
#include <stdio.h>
#include <string.h>

#include "benches.h"
#include "guest.h"
#include "helper.h"
#include "machines.h"
#include "sys.h"

#define MIB		(1UL << 20)
#define SIZES		3
#define MANY_PAGES	10000
#define COLD_PAGES_MAX	1000
#define TWIN_PAGES	64
/* Reported beside what the guest's program writes: its page tables. */
#define OTHER_PAGES_MAX	16
/* Emulated processors that run at once kill guests now and then. */
#define TRIES_MAX	5

static const uint64_t sizes_mib[SIZES] = { 64, 1024, 4096 };
/* 30,000 is for the second thread. */
static const uint64_t page_counts[] = { 100, 1000, 10000, 30000, 60000 };

struct world {
	int kvm_fd;
	const struct options *options;
	unsigned int vcpus;
	int has[TRACKER_KINDS];
	struct machine machines[SIZES][TRACKER_KINDS];
	struct machine twins[TRACKER_KINDS];
	struct harvest harvest;
};

struct turn {
	unsigned int round;	/* 0 is not recorded: mappings come into being */
	uint64_t size_mib;
	struct touch touch;
	const struct method *method;
	int cold;
};

static int size_wanted(const struct world *world, unsigned int size)
{
	return sizes_mib[size] <= world->options->memory_max_mib;
}

typedef void action(struct world *world, struct machine *machine, enum tracker_kind kind, uint64_t size_mib);

static void for_each_machine(struct world *world, action *act)
{
	for (enum tracker_kind kind = 0; kind < TRACKER_KINDS; kind++) {
		if (!world->has[kind])
			continue;
		act(world, &world->twins[kind], kind, sizes_mib[0]);
		for (unsigned int size = 0; size < SIZES; size++)
			if (size_wanted(world, size))
				act(world, &world->machines[size][kind], kind, sizes_mib[size]);
	}
}

static void create(struct world *world, struct machine *machine, enum tracker_kind kind, uint64_t size_mib)
{
	machine_create(machine, world->kvm_fd, kind, size_mib * MIB, world->vcpus);
}

static void destroy(struct world *world, struct machine *machine, enum tracker_kind kind, uint64_t size_mib)
{
	(void)world, (void)kind, (void)size_mib;
	machine_destroy(machine);
}

static uint64_t slowest_guest_ns(const struct vm *vm)
{
	uint64_t slowest = 0;

	for (unsigned int i = 0; i < vm->vcpu_count; i++)
		if (vm->vcpus[i].guest_ns > slowest)
			slowest = vm->vcpus[i].guest_ns;
	return slowest;
}

/* The guest writes its pages. Where it died, it is born again; what it wrote is armed and forgotten. */
static void dirty_pages(struct world *world, struct machine *machine, const struct method *method,
			const struct touch *touch)
{
	for (unsigned int tries = 0; tries < TRIES_MAX; tries++) {
		guest_aim_touch(&machine->vm, touch);
		vm_run_all(&machine->vm);
		if (vm_all_left_for(&machine->vm, KVM_EXIT_IO))
			return;
		method->run(&machine->tracker, &world->harvest);
		world->harvest.count = 0;
	}
	die("the guest died %d times running under %s", TRIES_MAX, method->name);
}

/* Returns when it ended, in ns. */
static uint64_t run_method(struct world *world, struct machine *machine, const struct method *method,
			   uint64_t *start_ns)
{
	if (method->run == run_mt_two_threads)
		helper_awaken();
	world->harvest.count = 0;
	*start_ns = now_ns();
	method->run(&machine->tracker, &world->harvest);
	return now_ns();
}

static void warm_up(struct world *world, const struct method *method)
{
	struct touch touch = { .memory_pages = sizes_mib[0] * MIB / PAGE_BYTES, .pages = TWIN_PAGES };
	struct machine *twin = &world->twins[method->kind];
	uint64_t start_ns;

	dirty_pages(world, twin, method, &touch);
	run_method(world, twin, method, &start_ns);
}

static void print_cycle(const struct world *world, const struct vm *vm, const struct turn *turn,
			uint64_t start_ns, uint64_t end_ns)
{
	printf("{\"kind\": \"cycle\", \"round\": %u, \"vcpus\": %u, \"memory_mib\": %lu, "
	       "\"pattern\": \"%s\", \"pages\": %lu, \"method\": \"%s\", \"cold\": %s, \"guest_ns\": %lu, "
	       "\"harvest_ns\": %lu, \"total_ns\": %lu, \"listed\": %u}\n",
	       turn->round, world->vcpus, turn->size_mib,
	       turn->touch.scattered ? "scattered" : "sequential", turn->touch.pages, turn->method->name,
	       turn->cold ? "true" : "false", slowest_guest_ns(vm), world->harvest.listed_ns - start_ns,
	       end_ns - start_ns, world->harvest.count);
}

static void take_turn(struct world *world, struct machine *machine, const struct turn *turn)
{
	uint64_t start_ns, end_ns;
	uint32_t listed;

	dirty_pages(world, machine, turn->method, &turn->touch);
	if (!turn->cold)
		warm_up(world, turn->method);
	end_ns = run_method(world, machine, turn->method, &start_ns);
	if (turn->round == 0)
		return;
	listed = world->harvest.count;
	/* That all were armed shows here, too: in the next round they are listed again. */
	if (listed < turn->touch.pages || listed > turn->touch.pages + OTHER_PAGES_MAX)
		die("%s listed %u pages of %lu that were written", turn->method->name, listed,
		    turn->touch.pages);
	print_cycle(world, &machine->vm, turn, start_ns, end_ns);
}

/* Before round 1 once for each machine, so that its mappings are there. */
static void take_turns(struct world *world, unsigned int size, struct turn *turn)
{
	for (unsigned int i = 0; i < method_count; i++) {
		turn->method = &methods[i];
		if (!world->has[turn->method->kind])
			continue;
		if (turn->round == 0 && i > 0 && methods[i - 1].kind == turn->method->kind)
			continue;
		take_turn(world, &world->machines[size][turn->method->kind], turn);
	}
}

static void run_round(struct world *world, unsigned int round, uint64_t pages, int scattered)
{
	struct turn turn = { .round = round };

	for (unsigned int size = 0; size < SIZES; size++) {
		turn.size_mib = sizes_mib[size];
		turn.touch = (struct touch){ turn.size_mib * MIB / PAGE_BYTES, pages, scattered };
		if (!size_wanted(world, size) || pages > turn.touch.memory_pages)
			continue;
		for (turn.cold = 0; turn.cold <= (round > 0 && pages <= COLD_PAGES_MAX); turn.cold++)
			take_turns(world, size, &turn);
	}
}

static void run_case(struct world *world, uint64_t pages, int scattered)
{
	unsigned int rounds = world->options->rounds;

	if (pages > world->options->pages_max)
		return;
	if (pages >= MANY_PAGES)
		rounds = (rounds + 1) / 2;
	for (unsigned int round = 0; round <= rounds; round++)
		run_round(world, round, pages, scattered);
	fflush(stdout);
}

void bench_cycles(int kvm_fd, const struct options *options)
{
	static struct world world;

	world.kvm_fd = kvm_fd;
	world.options = options;
	world.harvest.gfns = allocate(LIST_MAX * sizeof(uint64_t), "the list");
	for (enum tracker_kind kind = 0; kind < TRACKER_KINDS; kind++)
		world.has[kind] = tracker_supported(kvm_fd, kind);
	for (world.vcpus = 1; world.vcpus <= VCPUS_MAX; world.vcpus++) {
		for_each_machine(&world, create);
		for (unsigned int i = 0; i < sizeof(page_counts) / sizeof(page_counts[0]); i++)
			for (int scattered = 0; scattered <= 1; scattered++)
				run_case(&world, page_counts[i], scattered);
		for_each_machine(&world, destroy);
	}
}
