/* SPDX-License-Identifier: Apache-2.0 */
/* What primary.c calls of the machine, the io thread and the sender: nothing of it matters to acknowledgements. */
#include "check.h"
#include "disk.h"
#include "io.h"
#include "primary.h"

void vm_request_stop(struct ftd_vm *vm, uint32_t request)
{
	atomic_fetch_or(&vm->requests, request);
}

int vm_run_stopped(struct ftd_vm *vm, vm_command command, void *argument)
{
	return command(vm, argument);
}

void vm_unpark(struct ftd_vm *vm)
{
	(void)vm;
}

int vm_begin_tracking(struct ftd_vm *vm, const struct tracker_limits *limits)
{
	(void)limits;
	vm->logging = true;
	return 0;
}

int vm_end_tracking(struct ftd_vm *vm)
{
	vm->logging = false;
	return 0;
}

void io_set_link(struct ftd_vm *vm, struct ftd_primary *primary)
{
	(void)vm;
	(void)primary;
}

void io_wake(struct ftd_vm *vm)
{
	(void)vm;
}

pid_t io_thread_id(const struct ftd_vm *vm)
{
	(void)vm;
	return 0;
}

uint32_t state_length(const struct ftd_vm *vm)
{
	(void)vm;
	return 0;
}

void disk_detach(struct ftd_vm *vm)
{
	(void)vm;
}

void disk_release_log(struct ftd_vm *vm)
{
	(void)vm;
}

int disk_sync_open(struct ftd_primary *primary)
{
	(void)primary;
	return 0;
}

void disk_sync_close(struct ftd_primary *primary)
{
	(void)primary;
}

void disk_sync_begin(struct ftd_primary *primary)
{
	(void)primary;
}

void *sender_main(void *argument)
{
	return argument;
}
