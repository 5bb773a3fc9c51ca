// SPDX-License-Identifier: GPL-2.0-only
/* Every error of linux/kvm_mt.h, and that a refused request changes nothing. */
#include <fcntl.h>
#include <linux/types.h>
#include <sys/mman.h>
#include <unistd.h>

#include "mt_list.h"

/* Newer than the headers that this may be built against. */
#ifndef KVM_CREATE_GUEST_MEMFD
struct kvm_create_guest_memfd {
	__u64 size;
	__u64 flags;
	__u64 reserved[6];
};
struct kvm_userspace_memory_region2 {
	__u32 slot;
	__u32 flags;
	__u64 guest_phys_addr;
	__u64 memory_size;
	__u64 userspace_addr;
	__u64 guest_memfd_offset;
	__u32 guest_memfd;
	__u32 pad1;
	__u64 pad2[14];
};
#define KVM_MEM_GUEST_MEMFD		(1UL << 2)
#define KVM_SET_USER_MEMORY_REGION2	_IOW(KVMIO, 0x49, struct kvm_userspace_memory_region2)
#define KVM_CREATE_GUEST_MEMFD		_IOWR(KVMIO, 0xd4, struct kvm_create_guest_memfd)
#define KVM_X86_SW_PROTECTED_VM		1
#endif

static void stock_kernel(void)
{
	struct vm *vm = vm_create(1, 0);

	if (mt_supported())
		mt_skip("this KVM has memory tracking");
	CHECK_ERR(mt_create(vm->fd, 512), ENOTTY);
	CHECK_ERR(mt_ioctl(vm->fd, KVM_MT_PREPARE, &(struct kvm_mt_prepare){ 0 }), ENOTTY);
}

static void create(void)
{
	struct vm *vm = vm_create(1, 0);
	struct kvm_mt_create bad;
	u32 most = mt_capacity();
	int mt;

	bad = (struct kvm_mt_create){ .max_gfns = 64, .flags = 1 };
	CHECK_ERR(mt_ioctl(vm->fd, KVM_MT_CREATE, &bad), EINVAL);
	for (int i = 0; i < 3; i++) {
		bad = (struct kvm_mt_create){ .max_gfns = 64 };
		bad.reserved[i] = 1ull << 63;
		CHECK_ERR(mt_ioctl(vm->fd, KVM_MT_CREATE, &bad), EINVAL);
	}
	CHECK_ERR(mt_create(vm->fd, 0), EINVAL);
	if (most < UINT32_MAX)
		CHECK_ERR(mt_create(vm->fd, most + 1), EINVAL);
	CHECK_ERR(mt_ioctl(vm->fd, KVM_MT_CREATE, NULL), EFAULT);
	mt = CHECK_OK(mt_create(vm->fd, 1));
	CHECK_ERR(mt_create(vm->fd, 64), EEXIST);
	/* The other requests belong to the MT fd, this one to the VM fd. */
	CHECK_ERR(mt_ioctl(vm->fd, KVM_MT_PREPARE, &(struct kvm_mt_prepare){ 0 }), ENOTTY);
	CHECK_ERR(mt_create(mt, 64), ENOTTY);
	CHECK_ERR(mt_ioctl(mt, KVM_GET_API_VERSION, NULL), ENOTTY);
}

static void not_enabled(int mt)
{
	struct kvm_mt_status status;
	u64 gfn = GFN(TEST_GPA(0));

	CHECK_ERR(mt_prepare(mt, 0, NULL), ENXIO);
	CHECK_ERR(mt_fetch(mt, 0, 0, &gfn, 1), ENXIO);
	CHECK_ERR(mt_rearm(mt, 0, 0, 1), ENXIO);
	CHECK_ERR(mt_rearm_gfns(mt, &gfn, 1), ENXIO);
	CHECK_ERR(mt_mark(mt, &gfn, 1), ENXIO);
	CHECK_OK(mt_status(mt, &status));
	CHECK(!(status.flags & KVM_MT_STATUS_ENABLED), "status says enabled");
}

static void enable(void)
{
	struct vm *vm = vm_create(1, 0);
	struct kvm_mt_status status;
	int mt;

	vm_region(vm, 1, TEST_GPA(0), 64, 0);
	mt = CHECK_OK(mt_create(vm->fd, 512));
	not_enabled(mt);
	CHECK_ERR(mt_ioctl(mt, KVM_MT_ENABLE, &(struct kvm_mt_enable){ .enable = 2 }), EINVAL);
	CHECK_ERR(mt_ioctl(mt, KVM_MT_ENABLE, &(struct kvm_mt_enable){ .enable = 1, .flags = 1 }), EINVAL);
	CHECK_ERR(mt_ioctl(mt, KVM_MT_ENABLE, NULL), EFAULT);
	CHECK_OK(mt_enable(mt));
	CHECK_ERR(mt_enable(mt), EBUSY);
	CHECK_OK(mt_status(mt, &status));
	CHECK(status.flags & KVM_MT_STATUS_ENABLED, "status does not say enabled");
	CHECK_EQ(status.max_gfns, 512, "max_gfns in the status");
	CHECK_OK(mt_disable(mt));
	not_enabled(mt);
}

static void prepare(void)
{
	struct vm *vm = vm_create(1, 0);
	struct kvm_mt_prepare sealed;
	struct list pages = { 0 };
	int mt;

	list_add_pages(&pages, vm_region(vm, 1, TEST_GPA(0), 64, 0), 0, 10, 1);
	mt = track(vm);
	CHECK_OK(mt_mark(mt, pages.v, pages.n));
	CHECK_ERR(mt_prepare(mt, ~KVM_MT_PREPARE_RELEASE, NULL), EINVAL);
	CHECK_ERR(mt_ioctl(mt, KVM_MT_PREPARE, &(struct kvm_mt_prepare){ .reserved = 1 }), EINVAL);
	CHECK_ERR(mt_ioctl(mt, KVM_MT_PREPARE, NULL), EFAULT);
	CHECK_EQ(mt_prepare(mt, 0, &sealed), 10, "entries sealed");
	CHECK_ERR(mt_prepare(mt, 0, NULL), EBUSY);
	CHECK_EQ(mt_rearm(mt, sealed.epoch, 0, 9), 9, "frames re-armed");
	CHECK_ERR(mt_prepare(mt, 0, NULL), EBUSY);
	CHECK_EQ(mt_rearm(mt, sealed.epoch, 9, 1), 1, "frames re-armed");
	CHECK_EQ(mt_prepare(mt, 0, NULL), 0, "entries sealed");
}

static int fetch_with(int mt, struct kvm_mt_fetch fetch)
{
	return mt_ioctl(mt, KVM_MT_FETCH, &fetch);
}

static void fetch(void)
{
	struct vm *vm = vm_create(1, 0);
	struct kvm_mt_prepare sealed;
	struct list pages = { 0 };
	u64 gfns[16], address = (uintptr_t)gfns;
	u32 start;
	int mt;

	list_add_pages(&pages, vm_region(vm, 1, TEST_GPA(0), 64, 0), 0, 10, 1);
	mt = track(vm);
	CHECK_OK(mt_mark(mt, pages.v, pages.n));
	CHECK_OK(mt_prepare(mt, 0, &sealed));
	CHECK_ERR(mt_fetch(mt, sealed.epoch + 1, 0, gfns, 1), ESTALE);
	CHECK_ERR(mt_fetch(mt, sealed.epoch - 1, 0, gfns, 1), ESTALE);
	CHECK_ERR(mt_fetch_next(mt, sealed.epoch + 1, &start, gfns, 1), ESTALE);
	CHECK_ERR(fetch_with(mt, (struct kvm_mt_fetch){ .epoch = sealed.epoch, .gfns = address, .count = 1,
							 .flags = 2 }), EINVAL);
	CHECK_ERR(fetch_with(mt, (struct kvm_mt_fetch){ .epoch = sealed.epoch, .gfns = address, .count = 1,
							 .reserved = 1 }), EINVAL);
	CHECK_ERR(mt_fetch(mt, sealed.epoch, 11, gfns, 1), EINVAL);
	CHECK_ERR(fetch_with(mt, (struct kvm_mt_fetch){ .epoch = sealed.epoch, .gfns = address, .count = 1,
							 .start = 1, .flags = KVM_MT_FETCH_NEXT }), EINVAL);
	CHECK_ERR(mt_fetch(mt, sealed.epoch, 0, NULL, 10), EFAULT);
	CHECK_ERR(mt_fetch(mt, sealed.epoch, 0, (u64 *)0xffff800000000000ull, 10), EFAULT);
	CHECK_ERR(mt_ioctl(mt, KVM_MT_FETCH, NULL), EFAULT);
	CHECK_EQ(mt_fetch(mt, sealed.epoch, 0, gfns, 16), 10, "entries fetched of a list of 10");
	CHECK_EQ(mt_fetch(mt, sealed.epoch, 7, gfns, UINT32_MAX), 3, "entries fetched from 7 on");
	CHECK_EQ(gfns[0], pages.v[7], "entry 7");
}

static int rearm_with(int mt, struct kvm_mt_rearm rearm)
{
	return mt_ioctl(mt, KVM_MT_REARM, &rearm);
}

static void rearm(void)
{
	struct vm *vm = vm_create(1, 0);
	struct kvm_mt_prepare sealed;
	struct list pages = { 0 };
	u64 address;
	int mt;

	list_add_pages(&pages, vm_region(vm, 1, TEST_GPA(0), 64, 0), 0, 10, 1);
	address = (uintptr_t)pages.v;
	mt = track(vm);
	CHECK_OK(mt_mark(mt, pages.v, pages.n));
	CHECK_OK(mt_prepare(mt, 0, &sealed));
	CHECK_ERR(mt_rearm(mt, sealed.epoch + 1, 0, 1), ESTALE);
	CHECK_ERR(mt_rearm(mt, sealed.epoch - 1, 0, 1), ESTALE);
	CHECK_ERR(mt_rearm(mt, sealed.epoch, 0, 11), EINVAL);
	CHECK_ERR(mt_rearm(mt, sealed.epoch, 11, 1), EINVAL);
	CHECK_ERR(mt_rearm(mt, sealed.epoch, 5, UINT32_MAX), EINVAL);
	CHECK_ERR(rearm_with(mt, (struct kvm_mt_rearm){ .epoch = sealed.epoch, .count = 1, .flags = 4 }),
		  EINVAL);
	CHECK_ERR(mt_rearm_share(mt, sealed.epoch, 2, 2), EINVAL);
	CHECK_ERR(mt_rearm_share(mt, sealed.epoch, 0, 0), EINVAL);
	CHECK_ERR(mt_rearm_share(mt, sealed.epoch + 1, 0, 1), ESTALE);
	CHECK_ERR(rearm_with(mt, (struct kvm_mt_rearm){ .gfns = address, .count = 1,
							 .flags = KVM_MT_REARM_GFNS | KVM_MT_REARM_SHARE }), EINVAL);
	CHECK_ERR(rearm_with(mt, (struct kvm_mt_rearm){ .epoch = sealed.epoch, .count = 1, .gfns = address }),
		  EINVAL);
	CHECK_ERR(rearm_with(mt, (struct kvm_mt_rearm){ .gfns = address, .count = 1, .epoch = 1,
							 .flags = KVM_MT_REARM_GFNS }), EINVAL);
	CHECK_ERR(rearm_with(mt, (struct kvm_mt_rearm){ .gfns = address, .count = 1, .start = 1,
							 .flags = KVM_MT_REARM_GFNS }), EINVAL);
	CHECK_ERR(mt_rearm_gfns(mt, NULL, 1), EFAULT);
	CHECK_ERR(mt_ioctl(mt, KVM_MT_REARM, NULL), EFAULT);
	/* None of these has re-armed anything. */
	CHECK_EQ(mt_rearm(mt, sealed.epoch, 0, 10), 10, "frames re-armed");
}

static void threshold_and_mark(void)
{
	struct vm *vm = vm_create(1, 0);
	struct kvm_mt_threshold threshold = { .threshold = 10, .flags = 1 };
	struct kvm_mt_status status;
	u64 gfn = GFN(TEST_GPA(0));
	struct kvm_mt_mark mark = { .gfns = (uintptr_t)&gfn, .count = 1, .flags = 1 };
	int mt;

	vm_region(vm, 1, TEST_GPA(0), 64, 0);
	mt = track(vm);
	CHECK_ERR(mt_ioctl(mt, KVM_MT_THRESHOLD, &threshold), EINVAL);
	CHECK_ERR(mt_ioctl(mt, KVM_MT_THRESHOLD, NULL), EFAULT);
	CHECK_OK(mt_status(mt, &status));
	CHECK_ERR(mt_threshold(mt, status.max_gfns + 1), EINVAL);
	CHECK_ERR(mt_ioctl(mt, KVM_MT_MARK, &mark), EINVAL);
	CHECK_ERR(mt_ioctl(mt, KVM_MT_MARK, NULL), EFAULT);
	CHECK_ERR(mt_mark(mt, NULL, 1), EFAULT);
	CHECK_ERR(mt_ioctl(mt, KVM_MT_STATUS, NULL), EFAULT);
	CHECK_OK(mt_status(mt, &status));
	CHECK_EQ(status.count, 0, "entries after refused requests");
	CHECK_EQ(status.threshold, 0, "threshold after a refused request");
}

static void guest_memfd_slot(void)
{
	struct kvm_create_guest_memfd create = { .size = 64 * PAGE };
	struct kvm_userspace_memory_region2 region = {
		.slot = 1, .flags = KVM_MEM_GUEST_MEMFD,
		.guest_phys_addr = TEST_GPA(0), .memory_size = 64 * PAGE,
	};
	int kvm = open("/dev/kvm", O_RDWR | O_CLOEXEC), vm, memfd, mt;
	void *memory = mmap(NULL, 64 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	vm = mt_ioctl(kvm, KVM_CREATE_VM, (void *)KVM_X86_SW_PROTECTED_VM);
	if (vm < 0)
		mt_skip("this KVM has no software-protected VMs (CONFIG_KVM_SW_PROTECTED_VM)");
	mt = mt_create(vm, 512);
	if (mt == -EOPNOTSUPP)
		return;
	CHECK_OK(mt);
	memfd = CHECK_OK(mt_ioctl(vm, KVM_CREATE_GUEST_MEMFD, &create));
	region.guest_memfd = memfd;
	region.userspace_addr = (uintptr_t)memory;
	CHECK_OK(mt_ioctl(vm, KVM_SET_USER_MEMORY_REGION2, &region));
	CHECK_ERR(mt_enable(mt), EOPNOTSUPP);
}

static const struct mt_test tests[] = {
	MT_TEST(stock_kernel, 10),
	MT_TEST(create, 20),
	MT_TEST(enable, 20),
	MT_TEST(prepare, 20),
	MT_TEST(fetch, 20),
	MT_TEST(rearm, 20),
	MT_TEST(threshold_and_mark, 20),
	MT_TEST(guest_memfd_slot, 20),
	MT_TESTS_END
};

int main(int argc, char **argv)
{
	return mt_main(argc, argv, tests);
}
