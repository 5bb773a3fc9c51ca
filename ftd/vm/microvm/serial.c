/* SPDX-License-Identifier: Apache-2.0 */
#include "devices.h"
#include "io.h"
#include "vm.h"

enum { THR = 0, IER = 1, IIR = 2, LCR = 3, MCR = 4, LSR = 5, MSR = 6, SCRATCH = 7 };
#define LCR_DIVISOR 0x80
#define LSR_THR_EMPTY 0x20
#define LSR_IDLE 0x40
#define IIR_NOTHING 0x01
#define MSR_CARRIER_READY 0xb0

void serial_write(struct ftd_vm *vm, uint16_t port, uint8_t value)
{
	struct serial *serial = &vm->serial;
	bool divisor = serial->lcr & LCR_DIVISOR;

	switch (port - SERIAL_PORT) {
	case THR:
		if (divisor) {
			serial->divisor_low = value;
		} else {
			/* A guest that does not wait for THR_EMPTY overruns, as on a wire. */
			if (!output_append(&vm->output.channels[OUTPUT_SERIAL], &value, 1))
				count(&vm->counters->output_bytes_dropped, 1);
			io_output_produced(vm);
		}
		break;
	case IER:
		if (divisor)
			serial->divisor_high = value;
		else
			serial->ier = value & 0x0f;
		break;
	case LCR:
		serial->lcr = value;
		break;
	case MCR:
		serial->mcr = value;
		break;
	case SCRATCH:
		serial->scratch = value;
		break;
	default:
		break;	/* FIFO control and the read-only registers */
	}
}

uint8_t serial_read(struct ftd_vm *vm, uint16_t port)
{
	const struct serial *serial = &vm->serial;
	bool divisor = serial->lcr & LCR_DIVISOR;

	switch (port - SERIAL_PORT) {
	case THR:
		return divisor ? serial->divisor_low : 0;
	case IER:
		return divisor ? serial->divisor_high : serial->ier;
	case IIR:
		return IIR_NOTHING;
	case LCR:
		return serial->lcr;
	case MCR:
		return serial->mcr;
	case LSR:
		/* A full gate shows as a busy transmitter: the guest waits, nothing grows. */
		return output_room(&vm->output.channels[OUTPUT_SERIAL]) ? LSR_THR_EMPTY | LSR_IDLE : 0;
	case MSR:
		return MSR_CARRIER_READY;
	default:
		return serial->scratch;
	}
}
