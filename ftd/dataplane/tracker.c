/* SPDX-License-Identifier: Apache-2.0 */
/* Which trackers there are, and which of them a host offers. */
#include "tracker.h"

#include <fcntl.h>
#include <linux/kvm.h>
#include <sys/ioctl.h>

static const struct tracker *const trackers[] = {
	[FTD_TRACKER_RING] = &tracker_ring,
	[FTD_TRACKER_BITMAP] = &tracker_bitmap,
	[FTD_TRACKER_MT] = &tracker_mt,
};

const struct tracker *tracker_by_id(uint32_t id)
{
	return id < ARRAY_SIZE(trackers) ? trackers[id] : NULL;
}

int ftd_kvm_check(const char *path, uint32_t *offered, ftd_error *error)
{
	int fd = open(path, O_RDWR | O_CLOEXEC);

	*offered = 0;
	if (fd < 0)
		return ftd_fail(error, errno, "%s: %s", path, strerror(errno));
	if (ioctl(fd, KVM_GET_API_VERSION, 0) != KVM_API_VERSION) {
		close(fd);
		return ftd_fail(error, ENOTSUP, "%s does not speak KVM API version %d", path, KVM_API_VERSION);
	}
	for (uint32_t id = 0; id < ARRAY_SIZE(trackers); id++)
		if (trackers[id] && trackers[id]->offered(fd))
			*offered |= 1u << id;
	close(fd);
	return 0;
}
