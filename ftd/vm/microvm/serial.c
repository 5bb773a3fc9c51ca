/* SPDX-License-Identifier: Apache-2.0 */
#include "devices.h"

#include <linux/serial_reg.h>
#include <string.h>
#include <sys/ioctl.h>

#include "io.h"
#include "vm.h"

enum { REGISTER_DATA, REGISTER_IER, REGISTER_IIR, REGISTER_LCR, REGISTER_MCR, REGISTER_LSR, REGISTER_MSR, REGISTER_SCR };
#define IER_KNOWN 0x0f
#define IIR_FIFO_ENABLED 0xc0	/* a 16550A, whose FIFO works */
/* A driver that saw an empty transmitter may write this much without looking again. */
#define FIFO_BYTES 16u
#define MSR_CONNECTED (UART_MSR_DCD | UART_MSR_DSR | UART_MSR_CTS)

static bool has_room(struct ftd_vm *vm)
{
	return output_room(&vm->output.channels[OUTPUT_SERIAL]) >= FIFO_BYTES;
}

/* ---- interrupts ---- */

static uint8_t interrupt_cause(const struct serial *serial)
{
	if ((serial->ier & UART_IER_RDI) && serial->received_count)
		return UART_IIR_RDI;
	if ((serial->ier & UART_IER_THRI) && serial->empty_pending)
		return UART_IIR_THRI;
	return UART_IIR_NO_INT;
}

static void set_line(struct ftd_vm *vm)
{
	struct kvm_irq_level level = { .irq = SERIAL_IRQ, .level = interrupt_cause(&vm->serial) != UART_IIR_NO_INT };

	if (vm->irqchip && level.level != vm->serial_line) {
		vm->serial_line = level.level;
		ioctl(vm->fd, KVM_IRQ_LINE, &level);
	}
}

/* The transmitter is empty at once, unless what waits in the ring says otherwise. */
static void tell_empty(struct ftd_vm *vm)
{
	vm->serial.starved = !has_room(vm);
	vm->serial.empty_pending = !vm->serial.starved;
}

void serial_room_made(struct ftd_vm *vm)
{
	if (!vm->serial.starved || !has_room(vm))
		return;
	tell_empty(vm);
	set_line(vm);
}

void serial_resume(struct ftd_vm *vm)
{
	if (vm->serial.starved)
		tell_empty(vm);	/* the ring of a machine that has just been restored is empty */
	set_line(vm);
}

bool serial_valid(const struct serial *serial)
{
	return serial->received_count <= SERIAL_RECEIVE_BYTES;
}

/* ---- data ---- */

size_t serial_receive(struct ftd_vm *vm, const void *data, size_t length)
{
	struct serial *serial = &vm->serial;
	size_t part = min_u64(length, SERIAL_RECEIVE_BYTES - serial->received_count);

	memcpy(serial->received + serial->received_count, data, part);
	serial->received_count = (uint8_t)(serial->received_count + part);
	count(&vm->counters->input_bytes, part);
	set_line(vm);
	return part;
}

static void transmit(struct ftd_vm *vm, uint8_t value)
{
	if (vm->serial.mcr & UART_MCR_LOOP) {
		serial_receive(vm, &value, 1);
	} else {
		/* A guest that does not wait for an empty transmitter overruns, as on a wire. */
		count(output_append(&vm->output.channels[OUTPUT_SERIAL], &value, 1) ?
			      &vm->counters->output_bytes_produced : &vm->counters->output_bytes_dropped, 1);
		io_output_produced(vm);
	}
	tell_empty(vm);
}

static uint8_t take_received(struct ftd_vm *vm)
{
	struct serial *serial = &vm->serial;
	uint8_t value = serial->received[0];

	if (!serial->received_count)
		return 0;
	serial->received_count--;
	memmove(serial->received, serial->received + 1, serial->received_count);
	if (!serial->received_count)
		io_input_wanted(vm);
	return value;
}

/* ---- registers ---- */

void serial_write(struct ftd_vm *vm, uint16_t port, uint8_t value)
{
	struct serial *serial = &vm->serial;
	bool divisor = serial->lcr & UART_LCR_DLAB;

	switch (port - SERIAL_PORT) {
	case REGISTER_DATA:
		if (divisor)
			serial->divisor_low = value;
		else
			transmit(vm, value);
		break;
	case REGISTER_IER:
		if (divisor) {
			serial->divisor_high = value;
			break;
		}
		/* Whoever begins to listen is told at once: drivers rely on it. */
		if (!(serial->ier & UART_IER_THRI) && (value & UART_IER_THRI))
			tell_empty(vm);
		serial->ier = value & IER_KNOWN;
		break;
	case REGISTER_IIR:	/* written: FIFO control */
		serial->fifo_control = value;
		if (value & UART_FCR_CLEAR_RCVR) {
			serial->received_count = 0;
			io_input_wanted(vm);
		}
		break;
	case REGISTER_LCR:
		serial->lcr = value;
		break;
	case REGISTER_MCR:
		serial->mcr = value;
		break;
	case REGISTER_SCR:
		serial->scratch = value;
		break;
	default:
		break;	/* read-only */
	}
	set_line(vm);
}

static uint8_t read_cause(struct ftd_vm *vm)
{
	struct serial *serial = &vm->serial;
	uint8_t cause = interrupt_cause(serial);

	if (cause == UART_IIR_THRI)
		serial->empty_pending = 0;
	return cause | (serial->fifo_control & UART_FCR_ENABLE_FIFO ? IIR_FIFO_ENABLED : 0);
}

/* Looped back, the modem's lines show what is set in MCR: drivers know a 16550 by it. */
static uint8_t modem_lines(const struct serial *serial)
{
	uint8_t mcr = serial->mcr;

	if (!(mcr & UART_MCR_LOOP))
		return MSR_CONNECTED;
	return (uint8_t)((mcr & UART_MCR_RTS ? UART_MSR_CTS : 0) | (mcr & UART_MCR_DTR ? UART_MSR_DSR : 0) |
			 (mcr & UART_MCR_OUT1 ? UART_MSR_RI : 0) | (mcr & UART_MCR_OUT2 ? UART_MSR_DCD : 0));
}

static uint8_t line_status(struct ftd_vm *vm)
{
	/* A full gate shows as a busy transmitter: the guest waits, nothing grows. */
	return (uint8_t)((has_room(vm) ? UART_LSR_THRE | UART_LSR_TEMT : 0) |
			 (vm->serial.received_count ? UART_LSR_DR : 0));
}

uint8_t serial_read(struct ftd_vm *vm, uint16_t port)
{
	const struct serial *serial = &vm->serial;
	bool divisor = serial->lcr & UART_LCR_DLAB;
	uint8_t value;

	switch (port - SERIAL_PORT) {
	case REGISTER_DATA:
		value = divisor ? serial->divisor_low : take_received(vm);
		break;
	case REGISTER_IER:
		return divisor ? serial->divisor_high : serial->ier;
	case REGISTER_IIR:
		value = read_cause(vm);
		break;
	case REGISTER_LCR:
		return serial->lcr;
	case REGISTER_MCR:
		return serial->mcr;
	case REGISTER_LSR:
		return line_status(vm);
	case REGISTER_MSR:
		return modem_lines(serial);
	default:
		return serial->scratch;
	}
	set_line(vm);	/* what was read may have been the cause */
	return value;
}
