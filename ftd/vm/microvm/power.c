/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How a guest ends itself: ACPI's PM1a blocks (power off is a write of SLP_EN
 * with the type that \_S5 names), a reset register as FADT names it, and the
 * keyboard controller's reset line, which is the oldest habit of all.
 *
 * That the guest has ended is part of its state: a standby that resumes an
 * epoch of after it finds an ended guest, not one that waits for ever.
 */
#include "devices.h"
#include "vm.h"

#define PM1_SCI_ENABLED 0x0001u	/* always: there is no SMM to take ACPI from */
#define PM1_SLEEP_ENABLE 0x2000u
#define PM1_SLEEP_TYPE(control) ((control) >> 10 & 7u)
#define RESET_SYSTEM 0x04u
#define KEYBOARD_COMMAND 0x64
#define KEYBOARD_RESET 0xfe

static void write_control(struct power *power, uint16_t value)
{
	/* SLP_EN reads as zero. */
	power->control = (uint16_t)(value & ~PM1_SLEEP_ENABLE);
	if ((value & PM1_SLEEP_ENABLE) && PM1_SLEEP_TYPE(value) == POWER_OFF_TYPE)
		power->ended = FTD_STOP_POWER_OFF;
}

bool power_write(struct ftd_vm *vm, uint16_t port, uint32_t size, uint32_t value)
{
	struct power *power = &vm->power;

	if (size == 2 && port == POWER_PM1_EVENT)
		return true;	/* status: written to clear what is never set */
	if (size == 2 && port == POWER_PM1_EVENT + 2)
		power->enable = (uint16_t)value;
	else if (size == 2 && port == POWER_PM1_CONTROL)
		write_control(power, (uint16_t)value);
	else if (size == 1 && port == POWER_RESET && (value & RESET_SYSTEM))
		power->ended = FTD_STOP_RESET;
	else if (size == 1 && port == KEYBOARD_COMMAND && value == KEYBOARD_RESET)
		power->ended = FTD_STOP_RESET;
	else
		return false;
	return true;
}

bool power_read(const struct ftd_vm *vm, uint16_t port, uint32_t size, uint32_t *value)
{
	if (size != 2)
		return false;
	switch (port) {
	case POWER_PM1_EVENT:
		*value = 0;
		return true;
	case POWER_PM1_EVENT + 2:
		*value = vm->power.enable;
		return true;
	case POWER_PM1_CONTROL:
		*value = vm->power.control | PM1_SCI_ENABLED;
		return true;
	default:
		return false;
	}
}
