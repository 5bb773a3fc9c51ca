// SPDX-License-Identifier: GPL-2.0-only
#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>

#include "benches.h"
#include "helper.h"
#include "sys.h"
#include "vm.h"

static const char usage[] =
	"usage: mt_bench [--rounds 7] [--memory-max-mib 4096] [--pages-max 60000] [--overshoot-rounds 300]\n"
	"                [--hot-seconds 5] [--hot-rate 100]\n"
	"A number of 0 leaves the bench out. Prints JSON lines. Needs two processors and /dev/kvm.\n";

static uint64_t number(const char *text, uint64_t most)
{
	char *end;
	uint64_t value;

	errno = 0;
	value = strtoull(text, &end, 10);
	if (errno || *end || end == text || value > most) {
		fprintf(stderr, "mt_bench: %s is not a number from 0 to %lu\n", text, most);
		exit(2);
	}
	return value;
}

static struct options parse(int argc, char **argv)
{
	static const struct option names[] = {
		{ "rounds", 1, NULL, 'r' },
		{ "memory-max-mib", 1, NULL, 'm' },
		{ "pages-max", 1, NULL, 'p' },
		{ "overshoot-rounds", 1, NULL, 'o' },
		{ "hot-seconds", 1, NULL, 's' },
		{ "hot-rate", 1, NULL, 'h' },
		{ NULL, 0, NULL, 0 },
	};
	struct options options = { .rounds = 7, .memory_max_mib = 4096, .pages_max = 60000,
				   .overshoot_rounds = 300, .hot_seconds = 5, .hot_rate = 100 };

	for (int choice; (choice = getopt_long(argc, argv, "", names, NULL)) != -1;) {
		switch (choice) {
		case 'r': options.rounds = (unsigned int)number(optarg, 1000); break;
		case 'm': options.memory_max_mib = number(optarg, 4096); break;
		case 'p': options.pages_max = number(optarg, 60000); break;
		case 'o': options.overshoot_rounds = (unsigned int)number(optarg, 1000000); break;
		case 's': options.hot_seconds = (unsigned int)number(optarg, 600); break;
		case 'h': options.hot_rate = (unsigned int)number(optarg, 100000); break;
		default: fputs(usage, stderr); exit(2);
		}
	}
	if (optind != argc) {
		fputs(usage, stderr);
		exit(2);
	}
	return options;
}

int main(int argc, char **argv)
{
	struct options options = parse(argc, argv);
	int kvm_fd = kvm_open();

	pin_to(0);
	helper_start();
	vm_memory_create(4096UL << 20);
	print_host(kvm_fd);
	if (options.rounds)
		bench_cycles(kvm_fd, &options);
	if (options.overshoot_rounds)
		bench_overshoot(kvm_fd, &options);
	if (options.hot_seconds && options.hot_rate)
		bench_hot_set(kvm_fd, &options);
	return 0;
}
