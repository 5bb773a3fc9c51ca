// SPDX-License-Identifier: GPL-2.0-only
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "harness.h"
#include "mt_api.h"
#include "mt_vm.h"

enum verdict { PASSED, FAILED, SKIPPED };

/*
 * Shared with the process of the test. The first verdict counts: a failure wakes other threads into
 * failing too.
 */
struct report {
	atomic_int verdict;
	char reason[512];
	char note[512];
};

struct mt_options mt_options = {
	.vcpus = 2, .harvesters = 2, .duration_s = 10, .pages = 512, .seed = 1, .zap = "all",
};

static struct report *report;

static void conclude(enum verdict verdict, const char *file, int line, const char *format, va_list args)
{
	int passed = PASSED, used = 0;

	if (atomic_compare_exchange_strong(&report->verdict, &passed, verdict)) {
		if (file)
			used = snprintf(report->reason, sizeof(report->reason), "%s:%d: ", file, line);
		vsnprintf(report->reason + used, sizeof(report->reason) - used, format, args);
	}
	_exit(verdict);
}

void mt_fail(const char *file, int line, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	conclude(FAILED, file, line, format, args);
	__builtin_unreachable();
}

void mt_skip(const char *format, ...)
{
	va_list args;

	va_start(args, format);
	conclude(SKIPPED, NULL, 0, format, args);
	__builtin_unreachable();
}

void mt_note(const char *format, ...)
{
	size_t used = strlen(report->note);
	va_list args;

	if (used + 2 < sizeof(report->note) && used)
		used += snprintf(report->note + used, sizeof(report->note) - used, "; ");
	va_start(args, format);
	vsnprintf(report->note + used, sizeof(report->note) - used, format, args);
	va_end(args);
}

/* The kernel's own complaints: a test that provokes one has failed, whatever it saw itself. */
static bool kernel_complained(int kmsg, char *line, size_t size)
{
	static const char * const complaints[] = { "WARNING: ", "BUG: ", "Oops: ",
						   "general protection fault" };
	ssize_t length;

	while (kmsg >= 0 && (length = read(kmsg, line, size - 1)) != 0) {
		if (length < 0 && errno == EPIPE)	/* overrun: the next read goes on with what is left */
			continue;
		if (length < 0)
			return false;
		line[length] = 0;
		line[strcspn(line, "\n")] = 0;
		for (size_t i = 0; i < ARRAY_SIZE(complaints); i++)
			if (strstr(line, complaints[i]))
				return true;
	}
	return false;
}

static void run_in_child(const struct mt_test *test, unsigned int limit_s)
{
	/* A process group of its own, so that helpers of a test that was killed can be found and ended. */
	setpgid(0, 0);
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	alarm(limit_s);
	test->run();
	exit(0);
}

static void print_result(const struct mt_test *test, double seconds)
{
	const char *separator = *report->note ? ", " : "";

	if (report->verdict == SKIPPED)
		printf("ok %s # SKIP %s\n", test->name, report->reason);
	else if (report->verdict == PASSED)
		printf("ok %s # %.1f s%s%s\n", test->name, seconds, separator, report->note);
	else
		printf("not ok %s: %s # %.1f s%s%s\n", test->name, report->reason, seconds, separator,
		       report->note);
	fflush(stdout);
}

static enum verdict run_one(const struct mt_test *test, int kmsg)
{
	unsigned int limit_s = test->limit_s + mt_options.duration_s;
	u64 began_us = now_us();
	char complaint[2048];
	int status;
	pid_t pid;

	memset(report, 0, sizeof(*report));
	fflush(NULL);
	pid = fork();
	if (pid < 0) {
		printf("not ok %s: fork: %s\n", test->name, strerror(errno));
		return FAILED;
	}
	if (!pid)
		run_in_child(test, limit_s);
	while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	kill(-pid, SIGKILL);

	if (WIFSIGNALED(status) && report->verdict == PASSED) {
		report->verdict = FAILED;
		if (WTERMSIG(status) == SIGALRM)
			snprintf(report->reason, sizeof(report->reason), "not done after %u s", limit_s);
		else
			snprintf(report->reason, sizeof(report->reason), "killed by signal %d",
				 WTERMSIG(status));
	}
	if (kernel_complained(kmsg, complaint, sizeof(complaint)) && report->verdict != FAILED) {
		report->verdict = FAILED;
		snprintf(report->reason, sizeof(report->reason), "the kernel said: %.400s", complaint);
	}
	print_result(test, (now_us() - began_us) / 1e6);
	return report->verdict;
}

static void usage(const char *program, const struct mt_test *tests)
{
	fprintf(stderr,
		"usage: %s [-4s] [-c vcpus] [-j harvesters] [-t seconds] [-p pages] [-r seed] [-z zap]\n"
		"       [test ...]\n"
		"  -4  the guest maps its memory by 4 KiB pages, not by 2 MiB\n"
		"  -s  run although this KVM has no memory tracking\n"
		"  -z  log, advise, move, all or none: how the stress test takes mappings away\n"
		"tests:", program);
	for (; tests->name; tests++)
		fprintf(stderr, " %s", tests->name);
	fprintf(stderr, "\n");
}

static bool parse_options(int argc, char **argv)
{
	int letter;

	while ((letter = getopt(argc, argv, "4sc:j:t:p:r:z:")) != -1) {
		switch (letter) {
		case '4':
			mt_options.small_pages = true;
			break;
		case 's':
			mt_options.stock = true;
			break;
		case 'c':
			mt_options.vcpus = atoi(optarg);
			break;
		case 'j':
			mt_options.harvesters = atoi(optarg);
			break;
		case 't':
			mt_options.duration_s = atoi(optarg);
			break;
		case 'p':
			mt_options.pages = atoi(optarg);
			break;
		case 'r':
			mt_options.seed = atoi(optarg);
			break;
		case 'z':
			mt_options.zap = optarg;
			break;
		default:
			return false;
		}
	}
	return mt_options.seed;	/* 0 is where the guest's generator stands still */
}

static bool wanted(const char *name, int count, char **names)
{
	for (int i = 0; i < count; i++)
		if (!strcmp(name, names[i]))
			return true;
	return !count;
}

static bool all_known(int count, char **names, const struct mt_test *tests)
{
	for (int i = 0; i < count; i++) {
		const struct mt_test *test = tests;

		while (test->name && strcmp(test->name, names[i]))
			test++;
		if (!test->name)
			return false;
	}
	return true;
}

int mt_main(int argc, char **argv, const struct mt_test *tests)
{
	unsigned int ended[3] = { 0 };
	int kmsg;

	if (!parse_options(argc, argv) || !all_known(argc - optind, argv + optind, tests)) {
		usage(argv[0], tests);
		return 2;
	}
	if (!mt_options.stock && !mt_supported()) {
		printf("not ok %s: this KVM has no memory tracking: load the patched modules (or give -s)\n",
		       argv[0]);
		return 1;
	}
	report = mmap(NULL, sizeof(*report), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (report == MAP_FAILED) {
		perror("mmap of the report");
		return 1;
	}
	kmsg = open("/dev/kmsg", O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	if (kmsg >= 0)
		lseek(kmsg, 0, SEEK_END);
	for (; tests->name; tests++)
		if (wanted(tests->name, argc - optind, argv + optind))
			ended[run_one(tests, kmsg)]++;
	if (ended[FAILED])
		return 1;
	return ended[SKIPPED] && !ended[PASSED] ? MT_EXIT_SKIPPED : 0;
}
