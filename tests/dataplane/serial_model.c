/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The serial port and the ports by which a guest ends itself, as drivers use
 * them: the steps by which Linux tells a 16550A, its test of the interrupt for
 * an empty transmitter, and random traffic in both directions, in which every
 * byte arrives once and in order and the interrupt line is never wrong.
 */
#include <linux/kvm.h>
#include <linux/serial_reg.h>
#include <stdarg.h>
#include <sys/ioctl.h>

#include "check.h"
#include "io.h"
#include "vm.h"

#define PORT(number) ((uint16_t)(SERIAL_PORT + (number)))

int __wrap_ioctl(int fd, unsigned long request, ...);

static struct ftd_vm vm;
static ftd_counters counters;
static unsigned int line, rises, wanted;

/* KVM: of all its calls only this one is made here. */
int __wrap_ioctl(int fd, unsigned long request, ...)
{
	const struct kvm_irq_level *level;
	va_list arguments;

	va_start(arguments, request);
	level = va_arg(arguments, const struct kvm_irq_level *);
	va_end(arguments);
	CHECK(fd == vm.fd && request == KVM_IRQ_LINE && level->irq == SERIAL_IRQ, "another call");
	CHECK(level->level != line, "the line was told twice to be %u", line);
	line = level->level;
	rises += line;
	return 0;
}

void io_output_produced(struct ftd_vm *machine)
{
	(void)machine;
}

void io_input_wanted(struct ftd_vm *machine)
{
	(void)machine;
	wanted++;
}

static void begin(void)
{
	for (int i = 0; i < OUTPUT_CHANNELS; i++)
		release_pages(vm.output.channels[i].ring, vm.output.channels[i].ring ? OUTPUT_RING_BYTES : 0);
	memset(&vm, 0, sizeof(vm));
	vm.fd = 42;
	vm.irqchip = true;
	vm.counters = &counters;
	line = rises = wanted = 0;
	CHECK(output_open(&vm.output) == 0, "no memory");
}

static void put(int number, int value)
{
	serial_write(&vm, PORT(number), (uint8_t)value);
}

static int get(int number)
{
	return serial_read(&vm, PORT(number));
}

static void is_known_as_16550a(void)
{
	begin();
	put(UART_IER, 0);
	CHECK(get(UART_IER) == 0, "IER");
	put(UART_IER, 0xff);
	CHECK(get(UART_IER) == 0x0f, "more interrupts than a 16550 has: %#x", get(UART_IER));
	put(UART_IER, 0);
	put(UART_MCR, UART_MCR_LOOP | UART_MCR_OUT2 | UART_MCR_RTS);
	CHECK(get(UART_MSR) == (UART_MSR_DCD | UART_MSR_CTS), "looped back: %#x", get(UART_MSR));
	put(UART_TX, 'x');
	CHECK((get(UART_LSR) & UART_LSR_DR) && get(UART_RX) == 'x', "looped back byte");
	CHECK(output_room(&vm.output.channels[OUTPUT_SERIAL]) == OUTPUT_RING_BYTES, "a looped back byte left");
	put(UART_MCR, 0);
	put(UART_FCR, UART_FCR_ENABLE_FIFO);
	CHECK(get(UART_IIR) >> 6 == 3, "no 16550A: %#x", get(UART_IIR));
	put(UART_LCR, UART_LCR_CONF_MODE_B);
	CHECK(get(UART_EFR) != 0, "taken for a 16650");
	put(UART_LCR, 0);
	put(UART_FCR, UART_FCR_ENABLE_FIFO | UART_FCR7_64BYTE);
	CHECK(!(get(UART_IIR) & 0x20), "taken for a 16750");
	put(UART_LCR, UART_LCR_DLAB);
	put(UART_DLL, 1);
	put(UART_DLM, 2);
	CHECK(get(UART_DLL) == 1 && get(UART_DLM) == 2, "divisor");
	put(UART_LCR, UART_LCR_WLEN8);
	put(UART_SCR, 0xa5);
	CHECK(get(UART_SCR) == 0xa5 && get(UART_LCR) == UART_LCR_WLEN8, "scratch, line control");
}

/* As serial8250_THRE_test: who begins to listen is told at once, each time. */
static void tells_an_empty_transmitter(void)
{
	begin();
	for (int turn = 0; turn < 3; turn++) {
		put(UART_IER, UART_IER_THRI);
		CHECK(line == 1, "not told in turn %d", turn);
		CHECK((get(UART_IIR) & UART_IIR_ID) == UART_IIR_THRI, "another cause");
		CHECK(line == 0 && (get(UART_IIR) & UART_IIR_NO_INT), "told twice");
		put(UART_IER, 0);
	}
	put(UART_IER, UART_IER_THRI);
	get(UART_IIR);
	put(UART_TX, 'a');
	CHECK(line == 1, "not told after a byte");
}

static void waits_for_room(void)
{
	struct output_channel *channel = &vm.output.channels[OUTPUT_SERIAL];

	begin();
	put(UART_IER, UART_IER_THRI);
	while (get(UART_LSR) & UART_LSR_THRE)
		put(UART_TX, 'a');
	CHECK(counters.output_bytes_dropped == 0, "a byte was lost though the guest looked");
	CHECK(line == 0, "told to be empty while the gate's ring is full");
	serial_room_made(&vm);
	CHECK(line == 0, "told to be empty without room");
	/* A machine that goes on from here has an empty ring. */
	output_consumed(channel, OUTPUT_RING_BYTES / 2);
	serial_room_made(&vm);
	CHECK(line == 1 && (get(UART_IIR) & UART_IIR_ID) == UART_IIR_THRI, "not told when room was made");
}

static void resumes_with_its_line(void)
{
	struct serial captured;

	begin();
	put(UART_IER, UART_IER_RDI);
	CHECK(serial_receive(&vm, "abc", 3) == 3 && line == 1, "not told of input");
	captured = vm.serial;
	begin();
	CHECK(serial_valid(&captured), "a captured state is refused");
	vm.serial = captured;
	serial_resume(&vm);
	CHECK(line == 1 && get(UART_RX) == 'a', "restored without its interrupt");
	captured.received_count = SERIAL_RECEIVE_BYTES + 1;
	CHECK(!serial_valid(&captured), "a malformed state is accepted");
}

static void random_traffic(uint64_t seed)
{
	struct random random = { .state = seed };
	uint32_t sent = 0, received = 0, offered = 0;

	begin();
	put(UART_FCR, UART_FCR_ENABLE_FIFO);
	for (case_number = 0; case_number < 200000; case_number++) {
		struct output_channel *channel = &vm.output.channels[OUTPUT_SERIAL];
		unsigned int cause;
		uint8_t bytes[100];
		uint32_t length = 1 + random_below(&random, sizeof(bytes));
		const char *data;
		size_t ready;

		switch (random_below(&random, 6)) {
		case 0:
			for (uint32_t i = 0; i < length; i++)
				bytes[i] = (uint8_t)(offered + i);
			offered += (uint32_t)serial_receive(&vm, bytes, length);
			break;
		case 1:
			while (length-- && (get(UART_LSR) & UART_LSR_DR)) {
				int value = get(UART_RX);

				CHECK(value == (uint8_t)received, "byte %u came as %d", received, value);
				received++;
			}
			break;
		case 2:
			if (!(get(UART_LSR) & UART_LSR_THRE))
				break;
			for (uint32_t i = 0; i < 16; i++)
				put(UART_TX, (uint8_t)sent++);
			break;
		case 3:
			while ((ready = output_ready(&vm.output, channel, &data)) > 0 && random_below(&random, 4)) {
				uint64_t tail = atomic_load(&channel->tail);

				for (size_t i = 0; i < ready; i++)
					CHECK((uint8_t)data[i] == (uint8_t)(tail + i), "byte %lu left changed", tail + i);
				output_consumed(channel, ready);
			}
			serial_room_made(&vm);
			break;
		case 4:
			put(UART_IER, (int)random_below(&random, 4));
			break;
		default:
			get(UART_IIR);
		}
		cause = ((vm.serial.ier & UART_IER_RDI) && vm.serial.received_count) ||
			((vm.serial.ier & UART_IER_THRI) && vm.serial.empty_pending);
		CHECK(line == cause, "line %u with cause %u", line, cause);
	}
	CHECK(received > 10000 && sent > 10000 && rises > 1000, "little happened: %u, %u, %u", received, sent, rises);
	CHECK(wanted > 0, "input was never asked for");
}

static void ends_by_each_way(void)
{
	static const struct {
		uint16_t port;
		uint32_t size, value, ended;
	} ways[] = {
		{ 0x604, 2, 5 << 10 | 1 << 13, FTD_STOP_POWER_OFF },
		{ 0x604, 2, 5 << 10, 0 },		/* the type alone: the write before the last */
		{ 0x604, 2, 1 << 13, 0 },		/* S0 */
		{ 0x604, 2, 3 << 10 | 1 << 13, 0 },
		{ 0xcf9, 1, 6, FTD_STOP_RESET },
		{ 0xcf9, 1, 2, 0 },
		{ 0xcf8, 4, 0x80000600, 0 },		/* a look for PCI */
		{ 0x64, 1, 0xfe, FTD_STOP_RESET },
		{ 0x64, 1, 0xd1, 0 },
		{ 0x600, 2, 0xffff, 0 },
		{ 0x602, 2, 0x120, 0 },
	};
	uint32_t value;

	for (case_number = 0; case_number < ARRAY_SIZE(ways); case_number++) {
		begin();
		power_write(&vm, ways[case_number].port, ways[case_number].size, ways[case_number].value);
		CHECK(vm.power.ended == ways[case_number].ended, "ended as %u", vm.power.ended);
	}
	CHECK(power_read(&vm, 0x602, 2, &value) && value == 0x120, "enabled events are not kept: %#x", value);
	CHECK(power_read(&vm, 0x604, 2, &value) && value == 1, "no SCI_EN: the guest would ask firmware for ACPI");
	CHECK(power_read(&vm, 0x600, 2, &value) && value == 0, "an event happened");
	CHECK(!power_read(&vm, 0x64, 1, &value), "a keyboard controller answers");
}

int main(int argc, char **argv)
{
	is_known_as_16550a();
	tells_an_empty_transmitter();
	waits_for_room();
	resumes_with_its_line();
	random_traffic(argument_or(argc, argv, 1, 1));
	ends_by_each_way();
	return 0;
}
