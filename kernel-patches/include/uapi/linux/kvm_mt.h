/* SPDX-License-Identifier: GPL-2.0-only WITH Linux-syscall-note */
/*
 * KVM memory tracking (MT): a dense list of the guest frames that were written.
 *
 * Documentation/virt/kvm/memory-tracking.rst has the whole contract. In short:
 * KVM_MT_CREATE on the VM fd returns an MT fd; all other requests go to that
 * fd, from any process that holds it. Every reserved and unused flag field
 * must be zero, else EINVAL.
 */
#ifndef _UAPI_LINUX_KVM_MT_H
#define _UAPI_LINUX_KVM_MT_H

#include <linux/ioctl.h>
#include <linux/types.h>

/* KVM_CHECK_EXTENSION: the largest max_gfns, or 0 where there is no tracking. */
#define KVM_CAP_MEMORY_TRACKING		0x4d54
/* kvm_run.exit_reason at the dirty-page threshold; kvm_run.mt has the details. */
#define KVM_EXIT_MEMORY_TRACKING	0x4d54

/* Two lists of max_gfns entries each are allocated, 1 to KVM_CAP_MEMORY_TRACKING. */
struct kvm_mt_create {
	__u32 flags;
	__u32 max_gfns;
	__u64 reserved[3];
};

/* enable is 1 or 0. Enabling write-protects all memory and starts an empty list. */
struct kvm_mt_enable {
	__u32 enable;
	__u32 flags;
};

/*
 * An entry of a list, as the mapping shows it. The mapping has both lists, each
 * max_gfns * 8 bytes and rounded up to whole pages. FETCH returns it without VALID
 * and REARMED. An entry that is not VALID yet is being written by a vCPU that
 * was running when the list was sealed.
 */
#define KVM_MT_ENTRY_GFN(entry)		((entry) & ((1ULL << 52) - 1))
#define KVM_MT_ENTRY_AS(entry)		(((entry) >> 56) & 0x3f)
#define KVM_MT_ENTRY_MAKE(as, gfn)	((__u64)(as) << 56 | (gfn))
#define KVM_MT_ENTRY_REARMED		(1ULL << 62)
#define KVM_MT_ENTRY_VALID		(1ULL << 63)

/*
 * Frames of the sealed list that were not re-armed are released: they stay
 * writable, and are not reported until they are re-armed by their number.
 * Without this flag such frames make the request fail with EBUSY.
 */
#define KVM_MT_PREPARE_RELEASE		(1U << 1)

/* More frames were written than the list holds. Sticks until disabled. */
#define KVM_MT_STATUS_OVERFLOW		(1U << 0)
/* Only in kvm_mt_status.flags. */
#define KVM_MT_STATUS_ENABLED		(1U << 1)
#define KVM_MT_STATUS_THRESHOLD		(1U << 2)

/* All frames of the list are re-armed as soon as it is sealed, as by KVM_MT_REARM: one request a checkpoint. */
#define KVM_MT_PREPARE_REARM		(1U << 0)

/* Seals the list being filled and starts the next one. All fields but flags are returned. */
struct kvm_mt_prepare {
	__u32 flags;
	__u32 count;		/* entries of the sealed list */
	__u64 epoch;		/* names the sealed list in FETCH and REARM */
	__u32 status;		/* KVM_MT_STATUS_OVERFLOW */
	__u32 list;		/* which half of the mapping has it: 0 or 1 */
	__u64 reserved;
};

/* Takes the next entries that no FETCH_NEXT took: for several threads. start is returned. */
#define KVM_MT_FETCH_NEXT		(1U << 0)

/* Copies entries [start, start + count) of the sealed list; count is how many there were. */
struct kvm_mt_fetch {
	__u64 epoch;
	__u64 gfns;		/* user address of count __u64 */
	__u32 start;
	__u32 count;
	__u32 flags;
	__u32 reserved;
};

/* gfns is the user address of count entries, of any list or released; start must be 0. */
#define KVM_MT_REARM_GFNS		(1U << 0)

/*
 * Instead of a range, share number start of count shares of the whole list:
 * for count threads, one each. KVM divides the list so that they do not meet.
 */
#define KVM_MT_REARM_SHARE		(1U << 1)

/*
 * Re-arms entries [start, start + count) of the sealed list, or those given:
 * the next write to such a frame is reported again. When it returns, all
 * writes to frames counted in done that are not reported again are in memory:
 * copy after it, or with all vCPUs out.
 */
struct kvm_mt_rearm {
	__u64 epoch;		/* with KVM_MT_REARM_GFNS: ignored, must be 0 */
	__u64 gfns;
	__u32 start;
	__u32 count;
	__u32 flags;
	__u32 done;		/* returned: frames that were not armed before */
};

/*
 * 0: none; at most max_gfns. At or above it no vCPU runs until the list is
 * sealed or the threshold raised.
 */
struct kvm_mt_threshold {
	__u32 threshold;
	__u32 flags;
};

struct kvm_mt_status {
	__u64 epoch;		/* of the list being filled */
	__u32 count;		/* its entries */
	__u32 sealed;		/* entries of the sealed list */
	__u32 rearmed;		/* of those, re-armed by range */
	__u32 flags;		/* KVM_MT_STATUS_* */
	__u32 threshold;
	__u32 max_gfns;
	__u64 reserved[2];
};

/* Frames that were written by other means than a vCPU, such as the device model. */
struct kvm_mt_mark {
	__u64 gfns;		/* user address of count entries */
	__u32 count;
	__u32 flags;
};

/* kvm_run.mt */
struct kvm_mt_exit {
	__u64 epoch;
	__u32 count;
	__u32 threshold;
};

#define KVM_MT_CREATE		_IOW(0xAE, 0xf0, struct kvm_mt_create)
#define KVM_MT_ENABLE		_IOW(0xAE, 0xf1, struct kvm_mt_enable)
#define KVM_MT_PREPARE		_IOWR(0xAE, 0xf2, struct kvm_mt_prepare)
#define KVM_MT_FETCH		_IOWR(0xAE, 0xf3, struct kvm_mt_fetch)
#define KVM_MT_REARM		_IOWR(0xAE, 0xf4, struct kvm_mt_rearm)
#define KVM_MT_THRESHOLD	_IOW(0xAE, 0xf5, struct kvm_mt_threshold)
#define KVM_MT_STATUS		_IOR(0xAE, 0xf6, struct kvm_mt_status)
#define KVM_MT_MARK		_IOW(0xAE, 0xf7, struct kvm_mt_mark)

#endif /* _UAPI_LINUX_KVM_MT_H */
