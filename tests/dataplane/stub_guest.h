/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a device calls to reach guest memory, for a program that drives one. Included by its main file alone, so that a
 * failed check names that program's case.
 */
#ifndef FTD_TEST_STUB_GUEST_H
#define FTD_TEST_STUB_GUEST_H

#include "check.h"
#include "vm.h"

void *vm_guest(struct ftd_vm *machine, uint64_t gpa, uint64_t length)
{
	return gpa < machine->memory_bytes && length <= machine->memory_bytes - gpa ? machine->memory + gpa : NULL;
}

/* Each piece costs its pages, marked before or not: the device asks for room as if none were. */
void *vm_guest_for_write(struct ftd_vm *machine, uint64_t gpa, uint64_t length)
{
	void *address = vm_guest(machine, gpa, length);
	uint64_t pages = length ? ((gpa + length - 1) >> 12) - (gpa >> 12) + 1 : 0;

	if (!address)
		return NULL;
	CHECK(pages <= vm_mark_room(machine), "%lu pages are to be marked with room for %u", pages, vm_mark_room(machine));
	machine->marked_count += (uint32_t)pages;
	return address;
}

#endif
