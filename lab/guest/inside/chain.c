/*
 * Chains the lines of standard input and answers each with its number and a hash of all that came before:
 *
 *	H(n) = FNV-1a-64 of H(n-1) | H(n-37) | n | line		integers: 8 bytes, little-endian
 *	H(n) = 0 for n <= 0
 *
 * One process serves one connection. Who knows the lines knows every byte of the answers, so a byte that is lost,
 * repeated or undone, in either direction, shows. The last 37 hashes lie on a page each: a page that a failover lost
 * or took from another moment shows as well.
 *
 * Ends with 0 at the end of input, and with 1 at a line that is no request or when it cannot write.
 */
#include <inttypes.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define LAG 37
#define LINE_BYTES_MAX 200
#define PAGE_BYTES 4096
#define ANSWER_BYTES_MAX 40 /* 20 digits, a space, 16 digits, a newline, a zero */
#define FNV_BASIS 0xcbf29ce484222325ULL
#define FNV_PRIME 0x100000001b3ULL

struct record {
	uint64_t hash;
} __attribute__((aligned(PAGE_BYTES)));

static struct record past[LAG];
static uint64_t last;

static char answers[64 * 1024];
static size_t answers_bytes;

static uint64_t hash_bytes(uint64_t hash, const unsigned char *bytes, size_t length)
{
	for (size_t i = 0; i < length; i++)
		hash = (hash ^ bytes[i]) * FNV_PRIME;
	return hash;
}

static uint64_t hash_word(uint64_t hash, uint64_t word)
{
	unsigned char bytes[8];

	for (int i = 0; i < 8; i++)
		bytes[i] = (unsigned char)(word >> (8 * i));
	return hash_bytes(hash, bytes, sizeof(bytes));
}

static int flush_answers(void)
{
	size_t done = 0;

	while (done < answers_bytes) {
		ssize_t written = write(STDOUT_FILENO, answers + done, answers_bytes - done);

		if (written <= 0)
			return -1;
		done += (size_t)written;
	}
	answers_bytes = 0;
	return 0;
}

static int is_request(const unsigned char *line, size_t length)
{
	if (length > LINE_BYTES_MAX)
		return 0;
	for (size_t i = 0; i < length; i++)
		if (line[i] < 0x20 || line[i] > 0x7e)
			return 0;
	return 1;
}

static int answer(const unsigned char *line, size_t length)
{
	uint64_t number = last + 1;
	uint64_t hash = hash_word(FNV_BASIS, past[last % LAG].hash);
	int printed;

	/* The record that this request will overwrite is that of number - LAG. */
	hash = hash_word(hash, past[number % LAG].hash);
	hash = hash_word(hash, number);
	hash = hash_bytes(hash, line, length);
	past[number % LAG].hash = hash;
	last = number;

	if (sizeof(answers) - answers_bytes < ANSWER_BYTES_MAX && flush_answers() < 0)
		return -1;
	printed = snprintf(answers + answers_bytes, ANSWER_BYTES_MAX, "%" PRIu64 " %016" PRIx64 "\n", number, hash);
	answers_bytes += (size_t)printed;
	return 0;
}

/* Takes all whole lines; returns how many bytes are left of the one that is not, or -1. */
static ssize_t take_lines(unsigned char *input, size_t length)
{
	unsigned char *line = input;
	unsigned char *end;

	while ((end = memchr(line, '\n', length))) {
		size_t bytes = (size_t)(end - line);

		if (!is_request(line, bytes) || answer(line, bytes) < 0)
			return -1;
		line = end + 1;
		length -= bytes + 1;
	}
	if (length > LINE_BYTES_MAX)
		return -1;
	memmove(input, line, length);
	return (ssize_t)length;
}

int main(void)
{
	static unsigned char input[16 * 1024];
	ssize_t kept = 0;
	ssize_t got;

	while ((got = read(STDIN_FILENO, input + kept, sizeof(input) - (size_t)kept)) > 0) {
		kept = take_lines(input, (size_t)(kept + got));
		if (flush_answers() < 0 || kept < 0)
			return 1;
	}
	return got < 0 || kept > 0;
}
