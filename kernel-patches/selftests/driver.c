// SPDX-License-Identifier: GPL-2.0-only
/*
 * Another process drives: it has the MT fd and the guest's memfd, nothing else
 * of the VM. The VMM process may die at any time; every request stays safe.
 */
#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "mt_guest.h"
#include "mt_list.h"

#define PAGES		256u
#define VCPUS		2u

static pid_t vmm;
static int channel;	/* to the VMM: 's' stops its vCPUs, it answers with the same */
static int mt;
static u8 *memory, *shadow;

static void send_fds(int to, const int fds[2])
{
	char control[CMSG_SPACE(2 * sizeof(int))] = { 0 }, byte = 'f';
	struct iovec data = { .iov_base = &byte, .iov_len = 1 };
	struct msghdr message = {
		.msg_iov = &data, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof(control),
	};
	struct cmsghdr *header = CMSG_FIRSTHDR(&message);

	header->cmsg_level = SOL_SOCKET;
	header->cmsg_type = SCM_RIGHTS;
	header->cmsg_len = CMSG_LEN(2 * sizeof(int));
	memcpy(CMSG_DATA(header), fds, 2 * sizeof(int));
	CHECK(sendmsg(to, &message, 0) == 1, "sending two fds: %s", strerror(errno));
}

static void receive_fds(int from, int fds[2])
{
	char control[CMSG_SPACE(2 * sizeof(int))] = { 0 }, byte;
	struct iovec data = { .iov_base = &byte, .iov_len = 1 };
	struct msghdr message = {
		.msg_iov = &data, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof(control),
	};

	CHECK(recvmsg(from, &message, 0) == 1 && CMSG_FIRSTHDR(&message), "the VMM sent no fds");
	memcpy(fds, CMSG_DATA(CMSG_FIRSTHDR(&message)), 2 * sizeof(int));
}

static void run_vmm(int to_driver)
{
	struct vm *vm = vm_create(VCPUS, 0);
	struct region *region = vm_region(vm, 1, TEST_GPA(0), PAGES, 0);
	char request;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	send_fds(to_driver, (int[2]){ CHECK_OK(mt_create(vm->fd, 4096)), region->memfd });
	for (unsigned int i = 0; i < VCPUS; i++) {
		vm->vcpus[i].rerun = true;
		vcpu_program(&vm->vcpus[i], guest_write_random,
			     (u64[5]){ region->gpa, PAGES - 1, 8 * i, mt_options.seed + i, 20 }, 3);
		vcpu_start(&vm->vcpus[i]);
	}
	while (read(to_driver, &request, 1) == 1) {
		for (unsigned int i = 0; i < VCPUS; i++)
			vcpu_stop(&vm->vcpus[i]);
		CHECK(write(to_driver, &request, 1) == 1, "answering the driver: %s", strerror(errno));
	}
	_exit(0);
}

static void setup(void)
{
	int pair[2], fds[2];

	CHECK(!socketpair(AF_UNIX, SOCK_STREAM, 0, pair), "socketpair: %s", strerror(errno));
	vmm = fork();
	CHECK(vmm >= 0, "fork: %s", strerror(errno));
	if (!vmm) {
		close(pair[0]);
		run_vmm(pair[1]);
	}
	close(pair[1]);
	channel = pair[0];
	receive_fds(channel, fds);
	mt = fds[0];
	memory = mmap(NULL, PAGES * PAGE, PROT_READ, MAP_SHARED, fds[1], 0);
	shadow = malloc(PAGES * PAGE);
	CHECK(memory != MAP_FAILED && shadow, "no memory for the guest's or its copy");
	CHECK_OK(mt_enable(mt));
	memcpy(shadow, memory, PAGES * PAGE);
}

/* Re-arms first, then copies: the vCPUs may be running. */
static u32 epoch(void)
{
	struct kvm_mt_prepare prepare;
	struct list all = seal(mt, 0, &prepare);
	u32 copied = 0;

	CHECK_OK(mt_rearm(mt, prepare.epoch, 0, all.n));
	for (u32 i = 0; i < all.n; i++) {
		u64 page = KVM_MT_ENTRY_GFN(all.v[i]) - GFN(TEST_GPA(0));

		if (page >= PAGES)
			continue;
		memcpy(shadow + page * PAGE, memory + page * PAGE, PAGE);
		copied++;
	}
	free(all.v);
	return copied;
}

static void expect_equal(const char *when)
{
	unsigned int differ = 0;

	for (u64 page = 0; page < PAGES; page++)
		differ += !!memcmp(shadow + page * PAGE, memory + page * PAGE, PAGE);
	CHECK(!differ, "%s %u pages of the copy differ from memory", when, differ);
}

static void stop_vcpus(void)
{
	char byte = 's';

	CHECK(write(channel, &byte, 1) == 1 && read(channel, &byte, 1) == 1, "the VMM does not answer");
}

static void copies_live_guest(void)
{
	u32 copied = 0;

	setup();
	for (int i = 0; i < 100; i++) {
		copied += epoch();
		usleep(1000);
	}
	stop_vcpus();
	copied += epoch();
	expect_equal("after the vCPUs stopped");
	CHECK(copied > PAGES, "%u pages copied", copied);
}

static void kill_vmm(void)
{
	kill(vmm, SIGKILL);
	CHECK(waitpid(vmm, NULL, 0) == vmm, "waiting for the VMM: %s", strerror(errno));
}

/* With the VMM gone its memory stands still, and the list has all that was written to it. */
static void survives_vmm(void)
{
	struct kvm_mt_status status;
	u64 gfn = GFN(TEST_GPA(0)) + 3;

	setup();
	for (int i = 0; i < 20; i++)
		epoch();
	usleep(20000);
	kill_vmm();
	epoch();
	expect_equal("after the VMM was killed");

	/* Nobody is left to run the VM; each request is answered all the same. */
	CHECK_OK(mt_status(mt, &status));
	CHECK_OK(mt_mark(mt, &gfn, 1));
	CHECK_OK(mt_threshold(mt, 1));
	CHECK_OK(mt_prepare(mt, 0, NULL));
	CHECK_OK(mt_rearm_gfns(mt, &gfn, 1));
	CHECK_OK(mt_prepare(mt, KVM_MT_PREPARE_RELEASE, NULL));
	CHECK_OK(mt_disable(mt));
	CHECK_OK(mt_enable(mt));
	CHECK_OK(mt_mark(mt, &gfn, 1));
	close(mt);
}

/* Killed while the driver is in the middle of its requests, at another place each time. */
static void vmm_dies_any_time(void)
{
	for (unsigned int round = 0; round < 8; round++) {
		u64 until_us;

		setup();
		until_us = now_us() + 3000 + round * 4000;
		while (now_us() < until_us)
			epoch();
		kill(vmm, SIGKILL);
		until_us = now_us() + 30000;
		while (now_us() < until_us) {
			epoch();
			if (round % 2) {
				CHECK_OK(mt_disable(mt));
				CHECK_OK(mt_enable(mt));
			}
		}
		waitpid(vmm, NULL, 0);
		if (round % 2 == 0) {
			epoch();
			expect_equal("after the VMM was killed at work");
		}
		close(mt);
		close(channel);
		munmap(memory, PAGES * PAGE);
		free(shadow);
	}
}

/* The VMM has closed its own fd: the driver's keeps tracking alive, and ends it. */
static void driver_dies(void)
{
	setup();
	epoch();
	CHECK_OK(mt_threshold(mt, 5));
	usleep(20000);
	/*
	 * vCPUs are forced out now; when tracking ends with the last reference, they run, and can be
	 * stopped.
	 */
	close(mt);
	usleep(20000);
	stop_vcpus();
}

static const struct mt_test tests[] = {
	MT_TEST(copies_live_guest, 60),
	MT_TEST(survives_vmm, 60),
	MT_TEST(vmm_dies_any_time, 90),
	MT_TEST(driver_dies, 30),
	MT_TESTS_END
};

int main(int argc, char **argv)
{
	return mt_main(argc, argv, tests);
}
