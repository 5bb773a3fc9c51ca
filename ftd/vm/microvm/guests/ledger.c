/*
 * Ledger: answers numbered requests on the console, each chained to all before it (chain.h), so that a client
 * that computes the same chain sees every request, answer or page that was lost, repeated or mixed up.
 *
 *     request             answer
 *     R <n> <payload>     A <n> <hash>      n = last + 1: chained now
 *                         D <n> <hash>      n <= last: chained before (a repetition after a failover)
 *                         G <n>             n <= last, and its record is not there any more
 *                         E <last + 1>      n > last + 1: this request is expected first
 *     ?                   L <last> <hash>   hash of the last request, 0 when there is none
 *
 * Lines end with a newline; hashes are 16 hex digits; a payload is 0 to 200 printable bytes. Any other line
 * is ignored, however long. args[0] and args[1]: see chain.h. Counters: [0] counts polls, [1] is the last
 * number.
 */
#include "boot.h"
#include "chain.h"
#include "console.h"
#include "serial.h"

#define PAYLOAD_BYTES_MAX 200
#define LINE_BYTES_MAX (PAYLOAD_BYTES_MAX + 32)
#define NUMBER_DIGITS_MAX 19 /* always fits 64 bits */
#define HASH_DIGITS 16

struct line {
    char bytes[LINE_BYTES_MAX];
    uint32_t length;
    int too_long;
};

static void write_char(char c)
{
    console_write(&c, 1);
}

static void write_decimal(uint64_t value)
{
    char digits[20];
    uint32_t first = sizeof(digits);
    do {
        digits[--first] = (char)('0' + value % 10);
        value /= 10;
    } while (value != 0);
    console_write(digits + first, (uint32_t)sizeof(digits) - first);
}

static void write_hash(uint64_t hash)
{
    char digits[HASH_DIGITS];
    for (int i = 0; i < HASH_DIGITS; i++)
        digits[i] = "0123456789abcdef"[hash >> (60 - 4 * i) & 15];
    console_write(digits, sizeof(digits));
}

static void answer(char kind, uint64_t number)
{
    write_char(kind);
    write_char(' ');
    write_decimal(number);
    write_char('\n');
}

static void answer_with_hash(char kind, uint64_t number, uint64_t hash)
{
    write_char(kind);
    write_char(' ');
    write_decimal(number);
    write_char(' ');
    write_hash(hash);
    write_char('\n');
}

/* Reads decimal digits from `at` on; returns the place behind them, 0 when no number fits. */
static uint32_t parse_number(const struct line *line, uint32_t at, uint64_t *number)
{
    uint32_t start = at;
    *number = 0;
    while (at < line->length && line->bytes[at] >= '0' && line->bytes[at] <= '9') {
        *number = *number * 10 + (uint64_t)(line->bytes[at] - '0');
        at++;
    }
    return at > start && at - start <= NUMBER_DIGITS_MAX ? at : 0;
}

static int is_payload(const char *bytes, uint32_t length)
{
    for (uint32_t i = 0; i < length; i++)
        if (bytes[i] < ' ' || bytes[i] > '~')
            return 0;
    return length <= PAYLOAD_BYTES_MAX;
}

static void handle_request(uint64_t number, const char *payload, uint32_t length)
{
    uint64_t last = chain_last();

    if (number > last + 1) {
        answer('E', last + 1);
    } else if (number == last + 1) {
        uint64_t hash = chain_append(payload, length);
        counters_of(0)[1] = number;
        answer_with_hash('A', number, hash);
    } else {
        struct record record = chain_record(number);
        if (record.number == number)
            answer_with_hash('D', number, record.hash);
        else
            answer('G', number);
    }
}

static void handle_line(const struct line *line)
{
    uint64_t number;

    if (line->length == 1 && line->bytes[0] == '?') {
        uint64_t last = chain_last();
        answer_with_hash('L', last, last != 0 ? chain_record(last).hash : 0);
        return;
    }
    if (line->length < 2 || line->bytes[0] != 'R' || line->bytes[1] != ' ')
        return;
    uint32_t end = parse_number(line, 2, &number);
    if (end == 0 || number == 0 || end == line->length || line->bytes[end] != ' ')
        return;
    const char *payload = line->bytes + end + 1;
    uint32_t length = line->length - end - 1;
    if (is_payload(payload, length))
        handle_request(number, payload, length);
}

static void take_byte(struct line *line, char byte)
{
    if (byte == '\n') {
        if (!line->too_long)
            handle_line(line);
        line->length = 0;
        line->too_long = 0;
    } else if (line->length == LINE_BYTES_MAX) {
        line->too_long = 1;
    } else {
        line->bytes[line->length++] = byte;
    }
}

static void serve(volatile uint64_t *counters)
{
    static struct line line;
    const char *bytes;

    for (;;) {
        uint32_t length = console_read(&bytes);
        for (uint32_t i = 0; i < length; i++)
            take_byte(&line, bytes[i]);
        if (length == 0) {
            console_flush(); /* everything that had come is answered: one notification for all of it */
            cpu_pause();
        }
        counters[0]++;
    }
}

void guest_main(uint64_t vcpu, const struct boot_block *boot)
{
    if (vcpu != 0 || boot->magic != BOOT_MAGIC)
        return;
    if (chain_open(boot) != 0) {
        serial_write("ledger: its pages do not fit in memory\n");
        return;
    }
    if (console_open() != 0) {
        serial_write("ledger: no usable console\n");
        return;
    }
    serial_write("ledger ready\n");
    serve(counters_of(0));
}
