/* SPDX-License-Identifier: Apache-2.0 */
/*
 * KVM_GET_SUPPORTED_CPUID says what the host can do. It knows nothing of this
 * machine: which vCPU asks, how many there are, that there is a LAPIC. And
 * some of what it offers a checkpoint cannot hold, or pays for dearly.
 *
 * The topology is one package with one core a vCPU and no threads; APIC ids
 * are the vCPUs' numbers.
 */
#include "cpuid.h"

#include <asm/kvm_para.h>
#include <linux/kvm.h>
#include <stdlib.h>
#include <sys/ioctl.h>

#include "vm.h"

#define ENTRIES_MAX 256

#define FEATURES_C_VMX (1u << 5)
#define FEATURES_C_TSC_DEADLINE (1u << 24)
#define FEATURES_C_HYPERVISOR (1u << 31)
#define FEATURES_D_HTT (1u << 28)
#define EXTENDED_C_SVM (1u << 2)

#define LEAF_CACHES 0x4u
#define LEAF_TOPOLOGY 0xbu
#define LEAF_TOPOLOGY_V2 0x1fu
#define LEAF_KVM_FEATURES 0x40000001u
#define LEAF_AMD_SIZES 0x80000008u
#define LEAF_AMD_SVM 0x8000000au
#define LEAF_AMD_CACHES 0x8000001du
#define LEAF_AMD_TOPOLOGY 0x8000001eu
#define LEAF_AMD_TOPOLOGY_V2 0x80000026u

#define LEVEL_THREAD 1u
#define LEVEL_CORE 2u

/*
 * Not offered. Asynchronous page faults: a page that was announced as missing
 * is never announced as present by another host. Stolen time, and what is
 * built on it: KVM would write a page of each vCPU in every epoch.
 */
#define KVM_FEATURES_REFUSED                                                                                    \
	(1u << KVM_FEATURE_ASYNC_PF | 1u << KVM_FEATURE_ASYNC_PF_VMEXIT | 1u << KVM_FEATURE_ASYNC_PF_INT |      \
	 1u << KVM_FEATURE_STEAL_TIME | 1u << KVM_FEATURE_PV_TLB_FLUSH)

/* Bits of an APIC id that tell `count` vCPUs apart. */
static uint32_t id_bits(uint32_t count)
{
	return count > 1 ? 32u - (uint32_t)__builtin_clz(count - 1) : 0;
}

static struct kvm_cpuid_entry2 *find(struct kvm_cpuid2 *cpuid, uint32_t leaf)
{
	for (uint32_t i = 0; i < cpuid->nent; i++)
		if (cpuid->entries[i].function == leaf)
			return &cpuid->entries[i];
	return NULL;
}

static void remove_leaf(struct kvm_cpuid2 *cpuid, uint32_t leaf)
{
	uint32_t kept = 0;

	for (uint32_t i = 0; i < cpuid->nent; i++)
		if (cpuid->entries[i].function != leaf)
			cpuid->entries[kept++] = cpuid->entries[i];
	cpuid->nent = kept;
}

/* No guest of ours has guests: their state is not part of a checkpoint. */
static void refuse_nesting(struct kvm_cpuid2 *cpuid)
{
	struct kvm_cpuid_entry2 *features = find(cpuid, 1), *extended = find(cpuid, 0x80000001u);

	if (features)
		features->ecx &= ~FEATURES_C_VMX;
	if (extended)
		extended->ecx &= ~EXTENDED_C_SVM;
	remove_leaf(cpuid, LEAF_AMD_SVM);
}

static void set_features(struct kvm_cpuid2 *cpuid, const struct vcpu *vcpu)
{
	struct kvm_cpuid_entry2 *features = find(cpuid, 1), *kvm = find(cpuid, LEAF_KVM_FEATURES);
	uint32_t count = vcpu->vm->vcpu_count;

	if (features) {
		features->ebx = (features->ebx & 0xffffu) | count << 16 | vcpu->index << 24;
		features->ecx |= FEATURES_C_HYPERVISOR;
		if (ioctl(vcpu->vm->fd, KVM_CHECK_EXTENSION, KVM_CAP_TSC_DEADLINE_TIMER) > 0)
			features->ecx |= FEATURES_C_TSC_DEADLINE;
		features->edx = count > 1 ? features->edx | FEATURES_D_HTT : features->edx & ~FEATURES_D_HTT;
	}
	if (kvm)
		kvm->eax &= ~KVM_FEATURES_REFUSED;
}

static void add_level(struct kvm_cpuid2 *cpuid, uint32_t index, uint32_t level, uint32_t bits, uint32_t count,
		      uint32_t apic_id)
{
	cpuid->entries[cpuid->nent++] = (struct kvm_cpuid_entry2){
		.function = LEAF_TOPOLOGY, .index = index, .flags = KVM_CPUID_FLAG_SIGNIFCANT_INDEX,
		.eax = bits, .ebx = count, .ecx = level << 8 | index, .edx = apic_id,
	};
}

/* Leaf 0xb with its three levels: a thread of one core, a core of the package, and the end of the list. */
static int set_topology(struct kvm_cpuid2 *cpuid, uint32_t count, uint32_t apic_id)
{
	const struct kvm_cpuid_entry2 *first;

	remove_leaf(cpuid, LEAF_TOPOLOGY);
	remove_leaf(cpuid, LEAF_TOPOLOGY_V2);
	remove_leaf(cpuid, LEAF_AMD_TOPOLOGY_V2);
	first = find(cpuid, 0);
	if (!first || first->eax < LEAF_TOPOLOGY)
		return 0;
	if (cpuid->nent + 3 > ENTRIES_MAX)
		return -1;
	add_level(cpuid, 0, LEVEL_THREAD, 0, 1, apic_id);
	add_level(cpuid, 1, LEVEL_CORE, id_bits(count), count, apic_id);
	add_level(cpuid, 2, 0, 0, 0, apic_id);
	return 0;
}

/* Caches of the first two levels are a core's own, the last is the package's. Both vendors' leaves look alike. */
static void set_caches(struct kvm_cpuid2 *cpuid, uint32_t leaf, uint32_t count)
{
	for (uint32_t i = 0; i < cpuid->nent; i++) {
		struct kvm_cpuid_entry2 *entry = &cpuid->entries[i];
		uint32_t level = entry->eax >> 5 & 7u;

		if (entry->function != leaf || !(entry->eax & 0x1fu))
			continue;
		entry->eax &= 0x3fffu;
		if (level > 2)
			entry->eax |= (count - 1) << 14;
		if (leaf == LEAF_CACHES)
			entry->eax |= (count - 1) << 26;
	}
}

static void set_amd_topology(struct kvm_cpuid2 *cpuid, uint32_t count, uint32_t apic_id)
{
	struct kvm_cpuid_entry2 *sizes = find(cpuid, LEAF_AMD_SIZES), *topology = find(cpuid, LEAF_AMD_TOPOLOGY);

	/* Intel has its addresses' widths there, too, and nothing in ecx. */
	if (sizes && find(cpuid, LEAF_AMD_TOPOLOGY))
		sizes->ecx = id_bits(count) << 12 | (count - 1);
	if (topology) {
		topology->eax = topology->ebx = apic_id;
		topology->ecx = 0;
	}
}

static int adapt(struct kvm_cpuid2 *cpuid, const struct vcpu *vcpu)
{
	uint32_t count = vcpu->vm->vcpu_count;

	refuse_nesting(cpuid);
	if (!vcpu->vm->irqchip)
		return 0;	/* a bare guest: no LAPIC, nobody to count vCPUs for */
	set_features(cpuid, vcpu);
	set_caches(cpuid, LEAF_CACHES, count);
	set_caches(cpuid, LEAF_AMD_CACHES, count);
	set_amd_topology(cpuid, count, vcpu->index);
	return set_topology(cpuid, count, vcpu->index);
}

int cpuid_get(const struct vcpu *vcpu, ftd_processor *processor, ftd_error *error)
{
	struct kvm_cpuid2 *cpuid = calloc(1, sizeof(*cpuid) + ENTRIES_MAX * sizeof(struct kvm_cpuid_entry2));
	int result = 0;

	_Static_assert(ENTRIES_MAX == ARRAY_SIZE(processor->cpuid), "room for all that was set");
	if (!cpuid)
		return ftd_fail(error, ENOMEM, "no memory for CPUID entries");
	cpuid->nent = ENTRIES_MAX;
	if (ioctl(vcpu->fd, KVM_GET_CPUID2, cpuid) < 0)
		result = ftd_fail(error, errno, "reading CPUID of vCPU %u: %s", vcpu->index, strerror(errno));
	else
		processor->cpuid_count = cpuid->nent;
	for (uint32_t i = 0; !result && i < cpuid->nent; i++) {
		const struct kvm_cpuid_entry2 *entry = &cpuid->entries[i];

		processor->cpuid[i] = (ftd_cpuid_entry){ entry->function, entry->index, entry->eax, entry->ebx,
							 entry->ecx, entry->edx };
	}
	free(cpuid);
	return result;
}

int cpuid_set(struct vcpu *vcpu, ftd_error *error)
{
	struct kvm_cpuid2 *cpuid = calloc(1, sizeof(*cpuid) + ENTRIES_MAX * sizeof(struct kvm_cpuid_entry2));
	int result = 0;

	if (!cpuid)
		return ftd_fail(error, ENOMEM, "no memory for CPUID entries");
	cpuid->nent = ENTRIES_MAX;
	if (ioctl(vcpu->vm->kvm_fd, KVM_GET_SUPPORTED_CPUID, cpuid) < 0)
		result = ftd_fail(error, errno, "asking KVM for its CPUID: %s", strerror(errno));
	else if (adapt(cpuid, vcpu) < 0)
		result = ftd_fail(error, E2BIG, "KVM has more than %d CPUID entries", ENTRIES_MAX - 3);
	else if (ioctl(vcpu->fd, KVM_SET_CPUID2, cpuid) < 0)
		result = ftd_fail(error, errno, "setting CPUID of vCPU %u: %s", vcpu->index, strerror(errno));
	free(cpuid);
	return result;
}
