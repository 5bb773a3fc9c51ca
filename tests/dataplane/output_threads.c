/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The gate with its real parties, each on a thread: a vCPU that sends and
 * seals, an io thread that takes acknowledgements and lets output go, a
 * heartbeat thread. For the thread sanitizer; what leaves is checked as well.
 */
#include <pthread.h>

#include "check.h"
#include "output.h"

#define EPOCHS 5000u
#define IN_FLIGHT_MAX 4u

static struct output output;
static pthread_mutex_t devices = PTHREAD_MUTEX_INITIALIZER;
static _Atomic uint64_t sealed, acked;
static _Atomic bool over;
static uint64_t sealed_head[EPOCHS + 1];	/* published with `sealed` */

static char byte_at(uint64_t place)
{
	return (char)(place * 31 + (place >> 8));
}

static void *vcpu(void *argument)
{
	struct output_channel *channel = &output.channels[OUTPUT_CONSOLE];
	struct random random = { (uintptr_t)argument };
	uint64_t head = 0;

	for (uint64_t epoch = 1; epoch <= EPOCHS; epoch++) {
		char data[300];
		size_t length = random_below(&random, sizeof(data));

		for (size_t i = 0; i < length; i++)
			data[i] = byte_at(head + i);
		pthread_mutex_lock(&devices);
		head += output_append(channel, data, length);
		pthread_mutex_unlock(&devices);
		while (epoch - atomic_load_explicit(&acked, memory_order_acquire) > IN_FLIGHT_MAX)
			__builtin_ia32_pause();
		output_mark(&output, epoch);
		sealed_head[epoch] = head;
		atomic_store_explicit(&sealed, epoch, memory_order_release);
	}
	return NULL;
}

static void *heartbeat(void *argument)
{
	(void)argument;
	while (!atomic_load(&over)) {
		uint64_t now = now_ns();

		output_proof(&output, now, now);
	}
	return NULL;
}

/* The io thread: this one. */
static void let_go(void)
{
	struct output_channel *channel = &output.channels[OUTPUT_CONSOLE];
	uint64_t acknowledged = 0, gone = 0;

	while (acknowledged < EPOCHS || gone < sealed_head[EPOCHS]) {
		uint64_t newest = atomic_load_explicit(&sealed, memory_order_acquire);
		const char *data;
		size_t ready;

		if (newest > acknowledged) {
			acknowledged++;
			output_acknowledged(&output, acknowledged);
			atomic_store_explicit(&acked, acknowledged, memory_order_release);
		}
		ready = output_ready(&output, channel, &data);
		CHECK(gone + ready <= sealed_head[acknowledged], "output of an epoch after %lu leaves", acknowledged);
		for (size_t i = 0; i < ready; i++)
			CHECK(data[i] == byte_at(gone + i), "byte %lu", gone + i);
		output_consumed(channel, ready);
		gone += ready;
	}
}

int main(int argc, char **argv)
{
	pthread_t threads[2];

	CHECK(output_open(&output) == 0, "no memory");
	output_watch(&output, 2 * FTD_MS);
	output_gate(&output);
	CHECK(pthread_create(&threads[0], NULL, vcpu, (void *)(uintptr_t)argument_or(argc, argv, 1, 1)) == 0, "thread");
	CHECK(pthread_create(&threads[1], NULL, heartbeat, NULL) == 0, "thread");
	let_go();
	atomic_store(&over, true);
	for (int i = 0; i < 2; i++)
		pthread_join(threads[i], NULL);
	output_close(&output);
	return 0;
}
