/* SPDX-License-Identifier: Apache-2.0 */
#include "exits.h"

static bool is_serial(uint16_t port, uint32_t size)
{
	return size == 1 && port >= SERIAL_PORT && port < SERIAL_PORT + SERIAL_PORTS;
}

static void write_port(struct ftd_vm *vm, uint16_t port, uint32_t size, uint32_t value)
{
	if (is_serial(port, size))
		serial_write(vm, port, (uint8_t)value);
	else
		power_write(vm, port, size, value);
}

static uint32_t read_port(struct ftd_vm *vm, uint16_t port, uint32_t size)
{
	uint32_t value;

	if (is_serial(port, size))
		return serial_read(vm, port);
	return power_read(vm, port, size, &value) ? value : UINT32_MAX;	/* nothing there */
}

void exit_io(struct vcpu *vcpu)
{
	struct ftd_vm *vm = vcpu->vm;
	struct kvm_run *run = vcpu->run;
	uint8_t *data = (uint8_t *)run + run->io.data_offset;

	pthread_mutex_lock(&vm->devices);
	for (uint32_t i = 0; i < run->io.count; i++) {
		uint8_t *item = data + (size_t)i * run->io.size;
		uint32_t value = 0;

		if (run->io.direction == KVM_EXIT_IO_OUT) {
			memcpy(&value, item, run->io.size);
			write_port(vm, run->io.port, run->io.size, value);
		} else {
			value = read_port(vm, run->io.port, run->io.size);
			memcpy(item, &value, run->io.size);
		}
	}
	pthread_mutex_unlock(&vm->devices);
}

/* The device whose window holds all of the access, or NULL. */
static struct virtio_device *device_at(struct ftd_vm *vm, uint64_t gpa, uint32_t length)
{
	uint64_t window = (gpa - VIRTIO_BASE) / VIRTIO_WINDOW_SIZE;

	if (gpa < VIRTIO_BASE || window >= VIRTIO_DEVICES || gpa % VIRTIO_WINDOW_SIZE + length > VIRTIO_WINDOW_SIZE ||
	    !vm->virtio[window].kind)
		return NULL;
	return &vm->virtio[window];
}

void exit_mmio(struct vcpu *vcpu)
{
	struct ftd_vm *vm = vcpu->vm;
	struct kvm_run *run = vcpu->run;
	uint64_t offset = run->mmio.phys_addr % VIRTIO_WINDOW_SIZE;
	struct virtio_device *device;
	uint32_t value;

	pthread_mutex_lock(&vm->devices);
	device = device_at(vm, run->mmio.phys_addr, run->mmio.len);
	if (run->mmio.is_write) {
		memcpy(&value, run->mmio.data, sizeof(value));
		if (device)
			virtio_write(vm, device, offset, run->mmio.len, value);
	} else {
		value = device ? virtio_read(vm, device, offset, run->mmio.len) : 0;
		memset(run->mmio.data, 0, sizeof(run->mmio.data));
		memcpy(run->mmio.data, &value, sizeof(value));
	}
	pthread_mutex_unlock(&vm->devices);
}
