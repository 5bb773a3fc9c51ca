// SPDX-License-Identifier: GPL-2.0-only
/* At the threshold no vCPU runs, wherever it is, until the list is sealed or the threshold raised. */
#include <poll.h>
#include <unistd.h>

#include "mt_guest.h"
#include "mt_list.h"

#define THRESHOLD	100u
#define PAGES		1024u
#define FORCED_OUT_MS	5000u	/* a host under emulation is slow; a vCPU that stays in stays for good */

static struct vm *vm;
static struct region *region;
static int mt;

static void setup(unsigned int vcpus, unsigned int flags, u32 threshold)
{
	vm = vm_create(vcpus, flags);
	region = vm_region(vm, 1, TEST_GPA(0), PAGES, 0);
	mt = track(vm);
	CHECK_OK(mt_threshold(mt, threshold));
}

static u32 entries(void)
{
	struct kvm_mt_status status;
	bool reached;

	CHECK_OK(mt_status(mt, &status));
	reached = status.threshold && status.count >= status.threshold;
	CHECK(!!(status.flags & KVM_MT_STATUS_THRESHOLD) == reached,
	      "%u entries, threshold %u, but flags %#x", status.count, status.threshold, status.flags);
	return status.count;
}

static void check_exit(const struct vcpu *vcpu, u32 threshold)
{
	/* Beside exit_reason's union, which installed headers do not have this member of. */
	const struct kvm_mt_exit *exit = (const void *)&vcpu->run->ex;
	struct kvm_mt_status status;

	CHECK_EQ(vcpu->last, KVM_EXIT_MEMORY_TRACKING, "exit reason");
	CHECK_OK(mt_status(mt, &status));
	CHECK_EQ(exit->epoch, status.epoch, "epoch of the exit");
	CHECK_EQ(exit->threshold, threshold, "threshold of the exit");
	CHECK(exit->count >= threshold && exit->count <= status.count,
	      "%u entries at the exit, %u now, threshold %u",
	      exit->count, status.count, threshold);
}

static void mark(u32 count)
{
	struct list pages = { 0 };

	list_add_pages(&pages, region, PAGES - count, count, 1);
	CHECK_OK(mt_mark(mt, pages.v, count));
}

static void start(unsigned int vcpu, const void *program, int privilege)
{
	vcpu_program(&vm->vcpus[vcpu], program, (u64[5]){ 0 }, privilege);
	vcpu_start(&vm->vcpus[vcpu]);
}

static void check_forced_out(unsigned int vcpu)
{
	CHECK(vcpu_ends_within(&vm->vcpus[vcpu], FORCED_OUT_MS), "vCPU %u is still in KVM_RUN %u ms later",
	      vcpu, FORCED_OUT_MS);
	check_exit(&vm->vcpus[vcpu], THRESHOLD);
}

static void seal_and_rearm(void)
{
	struct kvm_mt_prepare prepare;
	u32 count = CHECK_OK(mt_prepare(mt, 0, &prepare));

	CHECK_OK(mt_rearm(mt, prepare.epoch, 0, count));
}

static void writers(unsigned int vcpus)
{
	u32 worst = 0;

	setup(vcpus, 0, THRESHOLD);
	for (int round = 0; round < 4; round++) {
		for (unsigned int i = 0; i < vcpus; i++) {
			vcpu_write_stride(&vm->vcpus[i], region->gpa + i * (PAGES / vcpus) * PAGE,
					  PAGES / vcpus, PAGE, round);
			vcpu_start(&vm->vcpus[i]);
		}
		for (unsigned int i = 0; i < vcpus; i++)
			check_forced_out(i);
		if (entries() - THRESHOLD > worst)
			worst = entries() - THRESHOLD;
		seal_and_rearm();
	}
	mt_note("overshoot %u", worst);
	CHECK(worst <= vcpus, "overshoot %u with %u vCPUs", worst, vcpus);
}

static void one_writer(void)
{
	writers(1);
}

static void two_writers(void)
{
	writers(2);
}

static void four_writers(void)
{
	writers(4);
}

static void level_triggered(void)
{
	struct vcpu *vcpu;
	u32 before;

	setup(1, 0, THRESHOLD);
	vcpu = &vm->vcpus[0];
	vcpu_write_stride(vcpu, region->gpa, 4 * THRESHOLD, PAGE, 1);
	vcpu_run(vcpu);
	check_exit(vcpu, THRESHOLD);
	before = entries();
	for (int again = 0; again < 10; again++) {
		vcpu_run(vcpu);
		check_exit(vcpu, THRESHOLD);
	}
	CHECK_EQ(entries(), before, "entries after entering again at the threshold");

	CHECK_OK(mt_threshold(mt, 2 * THRESHOLD));
	vcpu_run(vcpu);
	check_exit(vcpu, 2 * THRESHOLD);
	CHECK(entries() >= 2 * THRESHOLD, "%u entries at the raised threshold", entries());

	seal_and_rearm();
	vcpu_run(vcpu);
	check_exit(vcpu, 2 * THRESHOLD);
	CHECK_OK(mt_threshold(mt, 0));
	vcpu_finish(vcpu);
}

static void lowered_below_count(void)
{
	struct vcpu *vcpu;

	setup(1, 0, 0);
	vcpu = &vm->vcpus[0];
	mark(2 * THRESHOLD);
	start(0, guest_spin, 3);
	usleep(20000);
	CHECK(!vcpu->ended, "without a threshold the vCPU left the guest with %d", vcpu->last);
	CHECK_OK(mt_threshold(mt, THRESHOLD));
	check_forced_out(0);
}

/* A vCPU that never faults is forced out of the guest by an interrupt. */
static void spinning(void)
{
	setup(2, 0, THRESHOLD);
	start(1, guest_spin, 3);
	vcpu_write_stride(&vm->vcpus[0], region->gpa, 2 * THRESHOLD, PAGE, 1);
	vcpu_start(&vm->vcpus[0]);
	check_forced_out(0);
	check_forced_out(1);
}

static void halted_by_writer(void)
{
	setup(2, VM_IRQCHIP, THRESHOLD);
	start(1, guest_halt, 0);
	usleep(50000);	/* into the halt */
	vcpu_write_stride(&vm->vcpus[0], region->gpa, 2 * THRESHOLD, PAGE, 1);
	vcpu_start(&vm->vcpus[0]);
	check_forced_out(0);
	check_forced_out(1);
}

static void halted_by_mark(void)
{
	setup(1, VM_IRQCHIP, THRESHOLD);
	for (int round = 0; round < 3; round++) {
		start(0, guest_halt, 0);
		usleep(50000);
		CHECK(!vm->vcpus[0].ended, "a halted vCPU left KVM_RUN with %d", vm->vcpus[0].last);
		mark(THRESHOLD);
		check_forced_out(0);
		seal_and_rearm();
	}
}

static void halts_at_threshold(void)
{
	setup(1, VM_IRQCHIP, THRESHOLD);
	mark(THRESHOLD);
	start(0, guest_halt, 0);
	check_forced_out(0);
}

static short polled(int timeout_ms)
{
	struct pollfd entry = { .fd = mt, .events = POLLIN };

	CHECK(poll(&entry, 1, timeout_ms) >= 0, "poll: %s", strerror(errno));
	return entry.revents;
}

static void *cross_later(void *unused)
{
	(void)unused;
	usleep(100000);
	mark(THRESHOLD);
	return NULL;
}

static void poll_reports(void)
{
	pthread_t crosser;

	setup(1, 0, THRESHOLD);
	CHECK_EQ(polled(0), 0, "poll with an empty list");
	mark(THRESHOLD - 1);
	CHECK_EQ(polled(0), 0, "poll one entry below the threshold");
	CHECK(!pthread_create(&crosser, NULL, cross_later, NULL), "no thread");
	CHECK_EQ(polled(FORCED_OUT_MS), POLLIN, "poll that waited for the threshold");
	pthread_join(crosser, NULL);
	CHECK_EQ(polled(0), POLLIN, "poll at the threshold");
	seal_and_rearm();
	CHECK_EQ(polled(0), 0, "poll after sealing");
	mark(THRESHOLD);
	CHECK_EQ(polled(0), POLLIN, "poll at the threshold again");
	CHECK_OK(mt_threshold(mt, THRESHOLD + 1));
	CHECK_EQ(polled(0), 0, "poll after the threshold was raised");
}

/*
 * Many crossings while a thread seals as soon as poll says so: nobody may wait for ever, no epoch
 * overshoots.
 */
static void driven_by_poll(void)
{
	const unsigned int vcpus = mt_options.vcpus;
	u32 worst = 0, epochs = 0;

	setup(vcpus, 0, THRESHOLD);
	for (unsigned int i = 0; i < vcpus; i++) {
		vm->vcpus[i].rerun = true;
		vcpu_program(&vm->vcpus[i], guest_write_random,
			     (u64[5]){ region->gpa, PAGES - 1, 8 * i, mt_options.seed + i, 1 }, 3);
		vcpu_start(&vm->vcpus[i]);
	}
	for (; epochs < 100; epochs++) {
		CHECK_EQ(polled(FORCED_OUT_MS), POLLIN, "poll while vCPUs write");
		usleep(epochs % 4 * 500);
		if (entries() - THRESHOLD > worst)
			worst = entries() - THRESHOLD;
		seal_and_rearm();
	}
	for (unsigned int i = 0; i < vcpus; i++) {
		vcpu_stop(&vm->vcpus[i]);
		CHECK(vm->vcpus[i].mt_exits, "vCPU %u was never forced out", i);
	}
	mt_note("overshoot %u", worst);
	CHECK(worst <= vcpus, "overshoot %u with %u vCPUs", worst, vcpus);
}

/* Closing the MT fd must not leave vCPUs forced out for good. */
static void closed_at_threshold(void)
{
	setup(1, 0, THRESHOLD);
	vcpu_write_stride(&vm->vcpus[0], region->gpa, 4 * THRESHOLD, PAGE, 1);
	vcpu_run(&vm->vcpus[0]);
	check_exit(&vm->vcpus[0], THRESHOLD);
	close(mt);
	vcpu_finish(&vm->vcpus[0]);
}

static void disabled_at_threshold(void)
{
	setup(1, 0, THRESHOLD);
	vcpu_write_stride(&vm->vcpus[0], region->gpa, 4 * THRESHOLD, PAGE, 1);
	vcpu_run(&vm->vcpus[0]);
	check_exit(&vm->vcpus[0], THRESHOLD);
	CHECK_OK(mt_disable(mt));
	CHECK_EQ(polled(0) & POLLIN, 0, "poll after disabling");
	vcpu_finish(&vm->vcpus[0]);
}

static const struct mt_test tests[] = {
	MT_TEST(one_writer, 30),
	MT_TEST(two_writers, 60),
	MT_TEST(four_writers, 60),
	MT_TEST(level_triggered, 30),
	MT_TEST(lowered_below_count, 30),
	MT_TEST(spinning, 30),
	MT_TEST(halted_by_writer, 30),
	MT_TEST(halted_by_mark, 30),
	MT_TEST(halts_at_threshold, 30),
	MT_TEST(poll_reports, 30),
	MT_TEST(driven_by_poll, 60),
	MT_TEST(closed_at_threshold, 30),
	MT_TEST(disabled_at_threshold, 30),
	MT_TESTS_END
};

int main(int argc, char **argv)
{
	return mt_main(argc, argv, tests);
}
