/* SPDX-License-Identifier: Apache-2.0 */
#include "state.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>

#include "vm.h"

#define MSRS_MAX 128
#define XSAVE_LEN_MAX 65536
#define XSAVE_LEN_MIN ((uint32_t)sizeof(struct kvm_xsave))

#define SECTIONS_MAX 15	/* of a msgpack fixmap */
#define SECTIONS_OTHER 4	/* machine, serial, power, net_addresses */
_Static_assert(SECTIONS_OTHER + VIRTIO_DEVICES + VCPUS_MAX <= SECTIONS_MAX, "the largest machine has too many sections");
#define VCPU_NAME_LEN 8

/* Part of the blob. Its memory is what is captured into it, and what a checkpoint is restored to. */
struct section {
	const char *name;
	void *data;
	uint32_t length;
};

struct state {
	uint32_t length, vcpu_len, xsave_len, msr_count;
	struct section sections[SECTIONS_MAX];
	uint32_t section_count;
	char vcpu_names[VCPUS_MAX][VCPU_NAME_LEN];
	uint32_t msr_indices[MSRS_MAX];
	struct machine_state machine;
	char *vcpus;		/* vcpu_count sections of vcpu_len bytes */
};

/* The parts of a vCPU's section. */
static struct vcpu_state *section_of(const struct ftd_vm *vm, uint32_t index)
{
	return (struct vcpu_state *)(vm->state->vcpus + (size_t)index * vm->state->vcpu_len);
}

static void *xsave_of(struct vcpu_state *section)
{
	return section + 1;
}

static struct kvm_msrs *msrs_of(const struct state *state, struct vcpu_state *section)
{
	return (struct kvm_msrs *)((char *)(section + 1) + state->xsave_len);
}

static int one_msr(int fd, unsigned long request, uint32_t index, uint64_t *value)
{
	struct {
		struct kvm_msrs head;
		struct kvm_msr_entry entry;
	} msr = { .head = { .nmsrs = 1 }, .entry = { .index = index, .data = *value } };
	int done = ioctl(fd, request, &msr);

	*value = msr.entry.data;
	return done == 1 ? 0 : -1;
}

/*
 * All MSRs that KVM names as part of a vCPU's state and that can be read and
 * written back here. One that cannot be written could not be restored either.
 */
static int choose_msrs(struct ftd_vm *vm, ftd_error *error)
{
	enum { LISTED_MAX = 4096 };
	struct kvm_msr_list *list = calloc(1, sizeof(*list) + LISTED_MAX * sizeof(uint32_t));
	struct state *state = vm->state;
	int result = 0;

	if (!list)
		return ftd_fail(error, ENOMEM, "no memory for the list of MSRs");
	list->nmsrs = LISTED_MAX;
	if (ioctl(vm->kvm_fd, KVM_GET_MSR_INDEX_LIST, list) < 0)
		result = ftd_fail(error, errno, "listing MSRs: %s", strerror(errno));
	for (uint32_t i = 0; !result && i < list->nmsrs; i++) {
		uint64_t value = 0;

		if (one_msr(vm->vcpus[0].fd, KVM_GET_MSRS, list->indices[i], &value) < 0 ||
		    one_msr(vm->vcpus[0].fd, KVM_SET_MSRS, list->indices[i], &value) < 0)
			continue;
		if (state->msr_count == MSRS_MAX)
			result = ftd_fail(error, E2BIG, "KVM lists more than %d MSRs", MSRS_MAX);
		else
			state->msr_indices[state->msr_count++] = list->indices[i];
	}
	free(list);
	return result;
}

/* msgpack: fixmap, then fixstr and bin 32 for each section. */
#define SECTION_HEAD(name_len) (1 + (name_len) + 5)

static void add_section(struct state *state, const char *name, void *data, size_t length)
{
	state->sections[state->section_count++] =
		(struct section){ .name = name, .data = data, .length = (uint32_t)length };
	state->length += (uint32_t)(SECTION_HEAD(strlen(name)) + length);
}

/* In the order in which they are to be restored: interrupt controllers first, vCPUs last. */
static void lay_out(struct ftd_vm *vm)
{
	struct state *state = vm->state;

	state->length = 1;
	add_section(state, "machine", &state->machine, sizeof(state->machine));
	add_section(state, "serial", &vm->serial, sizeof(vm->serial));
	add_section(state, "power", &vm->power, sizeof(vm->power));
	for (uint32_t i = 0; i < VIRTIO_DEVICES; i++)
		if (vm->virtio[i].kind)
			add_section(state, vm->virtio[i].kind->name, &vm->virtio[i].state,
				    sizeof(vm->virtio[i].state));
	if (vm->virtio[VIRTIO_NET].kind)
		add_section(state, "net_addresses", &vm->net.addresses, sizeof(vm->net.addresses));
	for (uint32_t i = 0; i < vm->vcpu_count; i++) {
		snprintf(state->vcpu_names[i], VCPU_NAME_LEN, "vcpu%u", i % VCPUS_MAX);
		add_section(state, state->vcpu_names[i], section_of(vm, i), state->vcpu_len);
	}
}

int state_prepare(struct ftd_vm *vm, ftd_error *error)
{
	struct state *state = calloc(1, sizeof(*state));
	int xsave_len = ioctl(vm->fd, KVM_CHECK_EXTENSION, KVM_CAP_XSAVE2), tsc_khz;

	vm->state = state;
	if (!state)
		return ftd_fail(error, ENOMEM, "no memory for the state of a VM");
	state->xsave_len = xsave_len > (int)XSAVE_LEN_MIN ? ((uint32_t)xsave_len + 7) & ~7u : XSAVE_LEN_MIN;
	if (state->xsave_len > XSAVE_LEN_MAX)
		return ftd_fail(error, E2BIG, "an XSAVE area of %u bytes is not supported", state->xsave_len);
	if (choose_msrs(vm, error) < 0)
		return -1;
	state->vcpu_len = (uint32_t)(sizeof(struct vcpu_state) + state->xsave_len + sizeof(struct kvm_msrs) +
				     state->msr_count * sizeof(struct kvm_msr_entry));
	state->vcpus = reserve_pages((size_t)vm->vcpu_count * state->vcpu_len);
	if (!state->vcpus)
		return ftd_fail(error, ENOMEM, "no memory for the state of %u vCPUs", vm->vcpu_count);
	lay_out(vm);
	state->machine = (struct machine_state){ .layout = STATE_LAYOUT, .irqchip = vm->irqchip,
						 .memory_bytes = vm->memory_bytes, .vcpus = vm->vcpu_count };
	for (uint32_t i = 0; i < 3; i++)
		state->machine.chips[i].chip_id = i;
	tsc_khz = ioctl(vm->vcpus[0].fd, KVM_GET_TSC_KHZ, 0);
	state->machine.tsc_khz = tsc_khz > 0 ? (uint32_t)tsc_khz : 0;
	return 0;
}

void state_release(struct ftd_vm *vm)
{
	if (!vm->state)
		return;
	release_pages(vm->state->vcpus, (size_t)vm->vcpu_count * vm->state->vcpu_len);
	free(vm->state);
}

void state_describe(const struct ftd_vm *vm, ftd_processor *processor)
{
	const struct state *state = vm->state;

	_Static_assert(MSRS_MAX == ARRAY_SIZE(processor->msrs), "room for all that were chosen");
	processor->xsave_bytes = state->xsave_len;
	processor->msr_count = state->msr_count;
	memcpy(processor->msrs, state->msr_indices, state->msr_count * sizeof(state->msr_indices[0]));
	processor->tsc_khz = state->machine.tsc_khz;
	processor->scales_tsc = ioctl(vm->fd, KVM_CHECK_EXTENSION, KVM_CAP_TSC_CONTROL) > 0;
}

uint32_t ftd_vm_tsc_khz(ftd_vm *vm)
{
	return vm->state->machine.tsc_khz;
}

uint32_t state_length(const struct ftd_vm *vm)
{
	return vm->state->length;
}

int state_capture_vcpu(struct vcpu *vcpu)
{
	struct ftd_vm *vm = vcpu->vm;
	const struct state *state = vm->state;
	struct vcpu_state *section = section_of(vm, vcpu->index);
	struct kvm_msrs *msrs = msrs_of(state, section);
	/* XSAVE2 must be used where it is larger; where it is not, both are the same. */
	unsigned long get_xsave = state->xsave_len > XSAVE_LEN_MIN ? KVM_GET_XSAVE2 : KVM_GET_XSAVE;

	/*
	 * KVM_RUN has returned with EINTR, so an instruction that exited for
	 * I/O is complete and its result is in the registers. These three were
	 * copied out at that return.
	 */
	section->regs = vcpu->run->s.regs.regs;
	section->sregs = vcpu->run->s.regs.sregs;
	section->events = vcpu->run->s.regs.events;
	section->layout = STATE_LAYOUT;
	section->irqchip = vm->irqchip;
	section->xsave_len = state->xsave_len;
	section->msr_count = state->msr_count;
	if (ioctl(vcpu->fd, get_xsave, xsave_of(section)) < 0 ||
	    ioctl(vcpu->fd, KVM_GET_XCRS, &section->xcrs) < 0 ||
	    ioctl(vcpu->fd, KVM_GET_DEBUGREGS, &section->debug) < 0)
		return -errno;
	/*
	 * MP state and LAPIC exist only with the in-kernel irqchip. MP state
	 * first: reading it accepts pending INIT and SIPI, which change the LAPIC.
	 */
	if (vm->irqchip && (ioctl(vcpu->fd, KVM_GET_MP_STATE, &section->mp) < 0 ||
			    ioctl(vcpu->fd, KVM_GET_LAPIC, &section->lapic) < 0))
		return -errno;
	/* Last: the TSC is among them, and should be of the latest instant. */
	msrs->nmsrs = state->msr_count;
	for (uint32_t i = 0; i < state->msr_count; i++)
		msrs->entries[i].index = state->msr_indices[i];
	return ioctl(vcpu->fd, KVM_GET_MSRS, msrs) == (int)state->msr_count ? 0 : -EIO;
}

int state_capture_machine(struct ftd_vm *vm)
{
	struct machine_state *machine = &vm->state->machine;

	if (vm->irqchip) {
		for (int i = 0; i < 3; i++)
			if (ioctl(vm->fd, KVM_GET_IRQCHIP, &machine->chips[i]) < 0)
				return -errno;
		if (ioctl(vm->fd, KVM_GET_PIT2, &machine->pit) < 0)
			return -errno;
	}
	return ioctl(vm->fd, KVM_GET_CLOCK, &machine->clock) < 0 ? -errno : 0;
}

static char *put_section(char *to, const char *name, const void *data, uint32_t length)
{
	size_t name_len = strlen(name);
	uint32_t big_endian = htonl(length);

	*to++ = (char)(0xa0 | name_len);
	memcpy(to, name, name_len);
	to += name_len;
	*to++ = (char)0xc6;
	memcpy(to, &big_endian, sizeof(big_endian));
	to += sizeof(big_endian);
	memcpy(to, data, length);
	return to + length;
}

void state_assemble(const struct ftd_vm *vm, char *to)
{
	const struct state *state = vm->state;

	*to++ = (char)(0x80 | state->section_count);
	for (uint32_t i = 0; i < state->section_count; i++)
		to = put_section(to, state->sections[i].name, state->sections[i].data, state->sections[i].length);
}

static int restore_machine(struct ftd_vm *vm, const struct machine_state *from, ftd_error *error)
{
	if (from->layout != STATE_LAYOUT || from->memory_bytes != vm->memory_bytes || from->vcpus != vm->vcpu_count ||
	    from->irqchip != (uint32_t)vm->irqchip)
		return ftd_fail(error, EINVAL, "the state is of another machine: memory, vCPUs, irqchip or layout differ");
	if (vm->irqchip) {
		for (int i = 0; i < 3; i++) {
			struct kvm_irqchip chip = from->chips[i];

			chip.chip_id = (uint32_t)i;
			if (ioctl(vm->fd, KVM_SET_IRQCHIP, &chip) < 0)
				return ftd_fail(error, errno, "restoring interrupt controller %d: %s", i, strerror(errno));
		}
		if (ioctl(vm->fd, KVM_SET_PIT2, &from->pit) < 0)
			return ftd_fail(error, errno, "restoring the interval timer: %s", strerror(errno));
	}
	vm->clocks = (struct clocks){ .restored = true, .guest_ns = from->clock.clock };
	vm->state->machine.tsc_khz = from->tsc_khz;
	return 0;
}

struct restore_step {
	const char *what;
	unsigned long request;
	const void *data;
	bool irqchip_only;
};

static int restore_vcpu(struct vcpu *vcpu, const struct vcpu_state *from, ftd_error *error)
{
	struct ftd_vm *vm = vcpu->vm;
	const struct state *state = vm->state;
	const struct kvm_msrs *msrs = (const struct kvm_msrs *)((const char *)(from + 1) + state->xsave_len);
	/*
	 * XCRs before XSAVE: XCR0 says which components of the area count.
	 * SREGS before LAPIC: the APIC base decides whether there is one, and in
	 * which mode. MP state after SREGS: setting CR0 of a vCPU that waits for
	 * SIPI would be lost. Events last: every call above may queue or clear an
	 * exception. TSC and TSC deadline are left to clocks_start: the deadline
	 * is dropped unless the LAPIC timer is in deadline mode already.
	 */
	const struct restore_step steps[] = {
		{ "XCRs", KVM_SET_XCRS, &from->xcrs, false },
		{ "XSAVE area", KVM_SET_XSAVE, from + 1, false },
		{ "special registers", KVM_SET_SREGS, &from->sregs, false },
		{ "registers", KVM_SET_REGS, &from->regs, false },
		{ "debug registers", KVM_SET_DEBUGREGS, &from->debug, false },
		{ "LAPIC", KVM_SET_LAPIC, &from->lapic, true },
		{ "MP state", KVM_SET_MP_STATE, &from->mp, true },
	};

	if (from->layout != STATE_LAYOUT || from->xsave_len != state->xsave_len ||
	    from->msr_count != state->msr_count || msrs->nmsrs != state->msr_count)
		return ftd_fail(error, EINVAL, "vCPU %u: the hosts' processors or kernels differ (XSAVE area %u and %u bytes, "
				"%u and %u MSRs)", vcpu->index, from->xsave_len, state->xsave_len, from->msr_count,
				state->msr_count);
	/* Before the MSRs: the TSC's value is in units of this frequency. Refused where the host cannot scale. */
	if (state->machine.tsc_khz && ioctl(vcpu->fd, KVM_GET_TSC_KHZ, 0) != (int)state->machine.tsc_khz &&
	    ioctl(vcpu->fd, KVM_SET_TSC_KHZ, (unsigned long)state->machine.tsc_khz) < 0)
		return ftd_fail(error, errno, "vCPU %u: this host cannot run a TSC of %u kHz: %s", vcpu->index,
				state->machine.tsc_khz, strerror(errno));
	for (size_t i = 0; i < ARRAY_SIZE(steps); i++) {
		if (steps[i].irqchip_only && !vm->irqchip)
			continue;
		if (ioctl(vcpu->fd, steps[i].request, steps[i].data) < 0)
			return ftd_fail(error, errno, "vCPU %u: restoring the %s: %s", vcpu->index, steps[i].what,
					strerror(errno));
	}
	for (uint32_t i = 0; i < state->msr_count; i++) {
		uint64_t value = msrs->entries[i].data;

		if (clocks_note_msr(vcpu, msrs->entries[i].index, value))
			continue;
		if (one_msr(vcpu->fd, KVM_SET_MSRS, msrs->entries[i].index, &value) < 0)
			return ftd_fail(error, EIO, "vCPU %u: KVM refused MSR 0x%x = 0x%lx", vcpu->index,
					msrs->entries[i].index, value);
	}
	if (ioctl(vcpu->fd, KVM_SET_VCPU_EVENTS, &from->events) < 0)
		return ftd_fail(error, errno, "vCPU %u: restoring events: %s", vcpu->index, strerror(errno));
	return 0;
}

static int restore_virtio(struct virtio_device *device, const struct virtio_state *from, ftd_error *error)
{
	if (!virtio_valid(device->kind, from))
		return ftd_fail(error, EINVAL, "the queues of device %s are malformed", device->kind->name);
	device->state = *from;
	return 0;
}

static int restore_serial(struct ftd_vm *vm, const struct serial *from, ftd_error *error)
{
	if (!serial_valid(from))
		return ftd_fail(error, EINVAL, "the state of the serial port is malformed");
	vm->serial = *from;
	return 0;
}

/* `data` is aligned. */
static int restore_data(struct ftd_vm *vm, const struct section *section, const void *data, ftd_error *error)
{
	if (section->data == &vm->serial)
		return restore_serial(vm, data, error);
	if (section->data == &vm->state->machine)
		return restore_machine(vm, data, error);
	for (uint32_t i = 0; i < vm->vcpu_count; i++)
		if (section->data == section_of(vm, i))
			return restore_vcpu(&vm->vcpus[i], data, error);
	for (uint32_t i = 0; i < VIRTIO_DEVICES; i++)
		if (section->data == &vm->virtio[i].state)
			return restore_virtio(&vm->virtio[i], data, error);
	memcpy(section->data, data, section->length);
	return 0;
}

static const struct section *find_section(const struct ftd_vm *vm, const char *name)
{
	for (uint32_t i = 0; i < vm->state->section_count; i++)
		if (strcmp(name, vm->state->sections[i].name) == 0)
			return &vm->state->sections[i];
	return NULL;
}

int ftd_vm_restore_section(ftd_vm *vm, const char *name, const void *data, uint64_t length, ftd_error *error)
{
	const struct section *section = find_section(vm, name);
	void *aligned;
	int result;

	if (vm->running)
		return ftd_fail(error, EBUSY, "the VM runs");
	if (!section)
		return ftd_fail(error, EINVAL, "unknown section %.32s", name);
	if (length != section->length)
		return ftd_fail(error, EINVAL, "section %s has %lu bytes, not %u", name, length, section->length);
	aligned = malloc(length);
	if (!aligned)
		return ftd_fail(error, ENOMEM, "no memory to restore %s", name);
	memcpy(aligned, data, length);
	result = restore_data(vm, section, aligned, error);
	free(aligned);
	return result;
}

const char *ftd_vm_section_name(ftd_vm *vm, uint32_t index)
{
	return index < vm->state->section_count ? vm->state->sections[index].name : NULL;
}
