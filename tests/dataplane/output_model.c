/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The output gate against a model that knows only what was promised: before an
 * acknowledgement nothing of that epoch leaves; order is kept; nothing leaves
 * once the newest heartbeat that was echoed is too old.
 *
 * Time is the model's: clock_gettime is replaced (-Wl,--wrap).
 */
#include "check.h"
#include "output.h"

#define STEPS 300000u
#define PROOF_MAX_NS 1000u
#define IN_FLIGHT_MAX 16u

static uint64_t clock_ns = 1000000;

int __wrap_clock_gettime(clockid_t id, struct timespec *time);
int __wrap_clock_gettime(clockid_t id, struct timespec *time)
{
	(void)id;
	time->tv_sec = (time_t)(clock_ns / 1000000000u);
	time->tv_nsec = (long)(clock_ns % 1000000000u);
	return 0;
}

struct model {
	uint64_t head[OUTPUT_CHANNELS], tail[OUTPUT_CHANNELS], allowed[OUTPUT_CHANNELS];
	uint64_t seals[OUTPUT_CHANNELS][IN_FLIGHT_MAX];	/* head at the seal of an epoch that is not acknowledged */
	uint64_t sealed, acked;
	bool gated, shut, watched;
	uint64_t proof_ns;	/* stamp of the newest echo */
};

/* Bytes are told from one another by their place in the stream. */
static char byte_at(uint64_t place)
{
	return (char)((place * 0x9e3779b97f4a7c15ull) >> 56);
}

static bool doubtful(const struct model *model)
{
	return model->gated && clock_ns - model->proof_ns > PROOF_MAX_NS;
}

static void produce(struct output *output, struct model *model, struct random *random)
{
	static char data[OUTPUT_RING_BYTES];
	int id = (int)random_below(random, OUTPUT_CHANNELS);
	size_t length = random_below(random, random_one_in(random, 20) ? sizeof(data) : 3000), room, taken;

	for (size_t i = 0; i < length; i++)
		data[i] = byte_at(model->head[id] + i);
	room = OUTPUT_RING_BYTES - (size_t)(model->head[id] - model->tail[id]);
	taken = output_append(&output->channels[id], data, length);
	CHECK(taken == (length < room ? length : room), "took %zu of %zu bytes with room for %zu", taken, length, room);
	model->head[id] += taken;
}

static void seal(struct output *output, struct model *model)
{
	if (!model->gated || model->sealed - model->acked == IN_FLIGHT_MAX)
		return;
	model->sealed++;
	output_mark(output, model->sealed);
	for (int id = 0; id < OUTPUT_CHANNELS; id++)
		model->seals[id][model->sealed % IN_FLIGHT_MAX] = model->head[id];
}

static void acknowledge(struct output *output, struct model *model, struct random *random)
{
	if (model->acked == model->sealed)
		return;
	/* One acknowledgement may stand for several epochs. */
	model->acked += 1 + random_below(random, (uint32_t)(model->sealed - model->acked));
	output_acknowledged(output, model->acked);
	for (int id = 0; id < OUTPUT_CHANNELS; id++)
		model->allowed[id] = model->seals[id][model->acked % IN_FLIGHT_MAX];
}

static void begin_pair(struct output *output, struct model *model)
{
	if (model->watched)
		return;
	output_watch(output, PROOF_MAX_NS);
	model->watched = true;
	model->proof_ns = 0;
}

static void gate(struct output *output, struct model *model)
{
	if (model->gated || !model->watched)
		return;
	output_gate(output);
	model->gated = true;
	for (int id = 0; id < OUTPUT_CHANNELS; id++)
		model->allowed[id] = model->head[id];
}

static void end_pair(struct output *output, struct model *model)
{
	output_ungate(output);
	model->gated = model->shut = model->watched = false;
	model->acked = model->sealed;
}

/* Echoes come in any order, and one in twenty claims to be of a time that is yet to come. */
static void prove(struct output *output, struct model *model, struct random *random)
{
	uint64_t stamp = clock_ns - random_below(random, 3 * PROOF_MAX_NS);

	if (random_one_in(random, 20))
		stamp = clock_ns + 1 + random_below(random, 3 * PROOF_MAX_NS);
	output_proof(output, stamp, clock_ns);
	if (stamp <= clock_ns && stamp > model->proof_ns)
		model->proof_ns = stamp;
}

static void consume(struct output *output, struct model *model, struct random *random)
{
	int id = (int)random_below(random, OUTPUT_CHANNELS);
	uint64_t allowed = model->gated ? model->allowed[id] : model->head[id];
	size_t ready, expected, taken;
	const char *data = NULL;

	expected = model->shut ? 0 : (size_t)(allowed - model->tail[id]);
	CHECK(output_in_doubt(output) == doubtful(model), "doubt: %d", doubtful(model));
	output->held = false;
	ready = output_ready(output, &output->channels[id], &data);
	CHECK(output->held == (expected && doubtful(model)), "held: %d", output->held);
	if (doubtful(model))
		expected = 0;
	CHECK(!ready == !expected, "%zu bytes may leave, not %zu (epoch %lu acknowledged)", ready, expected, model->acked);
	CHECK(ready <= expected, "%zu bytes may leave, not %zu (epoch %lu acknowledged)", ready, expected, model->acked);
	if (!ready)
		return;
	taken = 1 + random_below(random, (uint32_t)ready);
	for (size_t i = 0; i < taken; i++)
		CHECK(data[i] == byte_at(model->tail[id] + i), "byte %lu of channel %d", model->tail[id] + i, id);
	output_consumed(&output->channels[id], taken);
	model->tail[id] += taken;
}

static void check_drained(struct output *output, const struct model *model)
{
	bool drained = true;

	for (int id = 0; id < OUTPUT_CHANNELS; id++)
		drained &= (model->gated ? model->allowed[id] : model->head[id]) <= model->tail[id];
	CHECK(output_drained(output) == drained, "drained: %d", drained);
}

static void step(struct output *output, struct model *model, struct random *random)
{
	clock_ns += random_below(random, 100);
	switch (random_below(random, 64)) {
	case 0 ... 15:
		produce(output, model, random);
		break;
	case 16 ... 23:
		seal(output, model);
		break;
	case 24 ... 31:
		acknowledge(output, model, random);
		break;
	case 32 ... 47:
		consume(output, model, random);
		break;
	case 48 ... 60:
		prove(output, model, random);
		break;
	case 61:
		check_drained(output, model);
		begin_pair(output, model);
		gate(output, model);
		break;
	case 62:
		if (random_one_in(random, 8))
			clock_ns += 1 + random_below(random, 4 * PROOF_MAX_NS);	/* this process was stopped */
		break;
	default:
		if (random_one_in(random, 40)) {
			end_pair(output, model);
		} else if (random_one_in(random, 40)) {
			atomic_store(&output->shut, true);
			model->shut = true;
		}
	}
}

int main(int argc, char **argv)
{
	struct random random = { argument_or(argc, argv, 1, 1) };
	struct output output = { 0 };
	struct model model = { 0 };

	CHECK(output_open(&output) == 0, "no memory");
	for (uint32_t i = 0; i < STEPS; i++)
		step(&output, &model, &random);
	for (int id = 0; id < OUTPUT_CHANNELS; id++)
		CHECK(model.tail[id] > 8 * OUTPUT_RING_BYTES, "channel %d went round only %lu times", id,
		      model.tail[id] / OUTPUT_RING_BYTES);
	CHECK(model.acked > 1000, "%lu epochs were acknowledged", model.acked);
	output_close(&output);
	return 0;
}
