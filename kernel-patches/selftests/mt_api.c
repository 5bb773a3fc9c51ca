// SPDX-License-Identifier: GPL-2.0-only
#include <fcntl.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "mt_api.h"

int mt_ioctl(int fd, unsigned long request, void *argument)
{
	int result = ioctl(fd, request, argument);

	return result < 0 ? -errno : result;
}

u32 mt_capacity(void)
{
	int kvm = open("/dev/kvm", O_RDWR | O_CLOEXEC);
	int result = kvm < 0 ? 0 : ioctl(kvm, KVM_CHECK_EXTENSION, KVM_CAP_MEMORY_TRACKING);

	if (kvm >= 0)
		close(kvm);
	return result > 0 ? result : 0;
}

bool mt_supported(void)
{
	return mt_capacity() > 0;
}

int mt_create(int vm_fd, u32 max_gfns)
{
	struct kvm_mt_create create = { .max_gfns = max_gfns };

	return mt_ioctl(vm_fd, KVM_MT_CREATE, &create);
}

int mt_enable(int mt)
{
	struct kvm_mt_enable enable = { .enable = 1 };

	return mt_ioctl(mt, KVM_MT_ENABLE, &enable);
}

int mt_disable(int mt)
{
	struct kvm_mt_enable enable = { .enable = 0 };

	return mt_ioctl(mt, KVM_MT_ENABLE, &enable);
}

int mt_prepare(int mt, u32 flags, struct kvm_mt_prepare *prepare)
{
	struct kvm_mt_prepare own;
	int result;

	if (!prepare)
		prepare = &own;
	memset(prepare, 0, sizeof(*prepare));
	prepare->flags = flags;
	result = mt_ioctl(mt, KVM_MT_PREPARE, prepare);
	return result < 0 ? result : (int)prepare->count;
}

int mt_fetch(int mt, u64 epoch, u32 start, u64 *gfns, u32 count)
{
	struct kvm_mt_fetch fetch = { .epoch = epoch, .gfns = (uintptr_t)gfns, .start = start,
				      .count = count };
	int result = mt_ioctl(mt, KVM_MT_FETCH, &fetch);

	return result < 0 ? result : (int)fetch.count;
}

int mt_fetch_next(int mt, u64 epoch, u32 *start, u64 *gfns, u32 count)
{
	struct kvm_mt_fetch fetch = {
		.epoch = epoch, .gfns = (uintptr_t)gfns, .count = count, .flags = KVM_MT_FETCH_NEXT,
	};
	int result = mt_ioctl(mt, KVM_MT_FETCH, &fetch);

	*start = fetch.start;
	return result < 0 ? result : (int)fetch.count;
}

int mt_rearm(int mt, u64 epoch, u32 start, u32 count)
{
	struct kvm_mt_rearm rearm = { .epoch = epoch, .start = start, .count = count };
	int result = mt_ioctl(mt, KVM_MT_REARM, &rearm);

	return result < 0 ? result : (int)rearm.done;
}

int mt_rearm_share(int mt, u64 epoch, u32 share, u32 shares)
{
	struct kvm_mt_rearm rearm = { .epoch = epoch, .start = share, .count = shares, .flags = KVM_MT_REARM_SHARE };
	int result = mt_ioctl(mt, KVM_MT_REARM, &rearm);

	return result < 0 ? result : (int)rearm.done;
}

int mt_rearm_gfns(int mt, const u64 *gfns, u32 count)
{
	struct kvm_mt_rearm rearm = { .gfns = (uintptr_t)gfns, .count = count, .flags = KVM_MT_REARM_GFNS };
	int result = mt_ioctl(mt, KVM_MT_REARM, &rearm);

	return result < 0 ? result : (int)rearm.done;
}

int mt_threshold(int mt, u32 threshold)
{
	struct kvm_mt_threshold argument = { .threshold = threshold };

	return mt_ioctl(mt, KVM_MT_THRESHOLD, &argument);
}

int mt_mark(int mt, const u64 *gfns, u32 count)
{
	struct kvm_mt_mark mark = { .gfns = (uintptr_t)gfns, .count = count };

	return mt_ioctl(mt, KVM_MT_MARK, &mark);
}

int mt_status(int mt, struct kvm_mt_status *status)
{
	return mt_ioctl(mt, KVM_MT_STATUS, status);
}

size_t mt_map_half(u32 max_gfns)
{
	return ((size_t)max_gfns * sizeof(u64) + 4095) & ~(size_t)4095;
}

size_t mt_map_bytes(u32 max_gfns)
{
	return 2 * mt_map_half(max_gfns);
}
