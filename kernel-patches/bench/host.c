// SPDX-License-Identifier: GPL-2.0-only
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <linux/kvm.h>

#include "benches.h"
#include <linux/kvm_mt.h>
#include "sys.h"

static void read_processor(char name[128])
{
	char line[256];
	FILE *file = fopen("/proc/cpuinfo", "r");

	snprintf(name, 128, "unknown");
	if (!file)
		return;
	while (fgets(line, sizeof(line), file))
		if (sscanf(line, "model name : %127[^\"\\\n]", name) == 1)
			break;
	fclose(file);
}

void print_host(int kvm_fd)
{
	int max_gfns = ioctl(kvm_fd, KVM_CHECK_EXTENSION, KVM_CAP_MEMORY_TRACKING);
	long memory_mib = sysconf(_SC_PHYS_PAGES) / (1048576 / sysconf(_SC_PAGESIZE));
	struct utsname system;
	char processor[128];

	if (uname(&system))
		die("uname");
	read_processor(processor);
	printf("{\"kind\": \"host\", \"release\": \"%s\", \"processor\": \"%s\", \"processors\": %ld, "
	       "\"memory_mib\": %ld, \"max_gfns\": %d}\n", system.release, processor,
	       sysconf(_SC_NPROCESSORS_ONLN), memory_mib, max_gfns > 0 ? max_gfns : 0);
}
