/* SPDX-License-Identifier: Apache-2.0 */
#include "stub_machine.h"

#include <fcntl.h>
#include <sys/socket.h>

#include "check.h"

struct ftd_vm *stub_machine_make(uint64_t memory_bytes)
{
	struct ftd_vm *vm = calloc(1, sizeof(*vm));

	CHECK(vm, "no memory");
	vm->memory_bytes = memory_bytes;
	vm->pages = memory_bytes >> FTD_PAGE_SHIFT;
	vm->memory = calloc(1, memory_bytes);
	vm->counters = calloc(1, sizeof(*vm->counters));
	CHECK(vm->memory && vm->counters, "no memory");
	CHECK(events_open(&vm->events) == 0, "no eventfd");
	CHECK(output_open(&vm->output) == 0, "no memory");
	return vm;
}

void stub_machine_free(struct ftd_vm *vm)
{
	output_close(&vm->output);
	events_close(&vm->events);
	free(vm->counters);
	free(vm->memory);
	free(vm);
}

void stub_sockets(int fds[2])
{
	CHECK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) == 0, "no sockets");
	CHECK(fcntl(fds[1], F_SETFL, O_NONBLOCK) == 0, "fcntl");
}
