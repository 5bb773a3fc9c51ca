/* SPDX-License-Identifier: Apache-2.0 */
#include "standby_model.h"

#include <string.h>

#include "crc32c.h"

uint64_t model_field(const uint8_t *frame, enum model_field at, size_t bytes)
{
	uint64_t value = 0;

	for (size_t i = 0; i < bytes; i++)
		value |= (uint64_t)frame[at + i] << 8 * i;
	return value;
}

void model_set_field(uint8_t *frame, enum model_field at, uint64_t value, size_t bytes)
{
	for (size_t i = 0; i < bytes; i++)
		frame[at + i] = (uint8_t)(value >> 8 * i);
}

void model_seal_header(uint8_t *frame)
{
	model_set_field(frame, AT_HEADER_CRC, ftd_crc32c(0, frame, AT_HEADER_CRC), 4);
}

static uint32_t u32(const uint8_t *frame, enum model_field at)
{
	return (uint32_t)model_field(frame, at, 4);
}

uint64_t model_body_len(const uint8_t *frame)
{
	return (uint64_t)u32(frame, AT_STATE_LEN) + 8ull * u32(frame, AT_PAGE_COUNT) + u32(frame, AT_PAGES_LEN) +
	       u32(frame, AT_EXTRA_LEN);
}

static enum model_refusal judge_identity(const struct standby_model *model, const uint8_t *frame)
{
	uint32_t type = (uint32_t)model_field(frame, AT_TYPE, 2);

	if (memcmp(frame, "FTD1", 4) != 0)
		return MAGIC;
	if (u32(frame, AT_HEADER_CRC) != ftd_crc32c(0, frame, AT_HEADER_CRC))
		return HEADER_CRC;
	if (model_field(frame, AT_VERSION, 2) != 5)
		return VERSION;
	if (type != SYNC && type != EPOCH && type != PART && type != LEAVE && type != HANDOVER && type != DISK)
		return TYPE;
	if (memcmp(frame + AT_VM, model->vm_id, 16) != 0)
		return VM;
	if (model_field(frame, AT_GENERATION, 8) != MODEL_GENERATION)
		return GENERATION;
	if (u32(frame, AT_FLAGS))
		return FLAGS;
	return u32(frame, AT_PAIR) ? PAIR : NOT_REFUSED;
}

static enum model_refusal judge_lengths(const struct standby_model *model, const uint8_t *frame)
{
	uint32_t type = (uint32_t)model_field(frame, AT_TYPE, 2), state_len = u32(frame, AT_STATE_LEN);
	uint32_t count = u32(frame, AT_PAGE_COUNT), pages_len = u32(frame, AT_PAGES_LEN);
	uint32_t extra_len = u32(frame, AT_EXTRA_LEN);

	if ((state_len && type != EPOCH) || ((count || pages_len) && (type == LEAVE || type == HANDOVER || type == DISK)) ||
	    (extra_len && type != EPOCH && type != DISK))
		return LENGTH;
	if (state_len > MODEL_STATE_MAX || count > MODEL_EPOCH_PAGES_MAX || extra_len > MODEL_EXTRA_MAX ||
	    (type == PART && model->parts_received + 1 >= MODEL_PARTS_MAX))
		return OVERSIZE;
	if (pages_len % 8 || pages_len > (uint64_t)count * MODEL_PAGE_BYTES)
		return PAGES_LEN;
	return !model_body_len(frame) && u32(frame, AT_BODY_CRC) ? BODY_CRC : NOT_REFUSED;
}

static enum model_refusal judge_number(const struct standby_model *model, const uint8_t *frame)
{
	uint32_t type = (uint32_t)model_field(frame, AT_TYPE, 2);
	uint64_t epoch = model_field(frame, AT_EPOCH, 8);

	if (type == EPOCH || type == PART) {
		if (epoch <= model->epoch)
			return DUPLICATE;
		return epoch == model->epoch + 1 ? NOT_REFUSED : EPOCH_NUMBER;
	}
	if (type == SYNC || type == DISK)
		return epoch == 0 && model->epoch == 0 && !model->parts_received ? NOT_REFUSED : EPOCH_NUMBER;
	return epoch == model->epoch && !model->parts_received ? NOT_REFUSED : EPOCH_NUMBER;
}

static uint64_t entry_of(const uint8_t *list, uint32_t index)
{
	return model_field(list, 8 * index, 8);
}

uint32_t model_contents_len(uint64_t entry)
{
	if (entry >> 52 == 0)
		return MODEL_PAGE_BYTES;
	return (entry >> 52 & 15) == 2 ? 8 + MODEL_LINE_BYTES * (uint32_t)(entry >> 56) : 0;
}

static bool is_delta(uint64_t entry)
{
	return (entry >> 52 & 15) == 2 && entry >> 56 >= 1 && entry >> 56 <= 63;
}

static enum model_refusal judge_list(const uint8_t *frame, const uint8_t *list)
{
	uint32_t count = u32(frame, AT_PAGE_COUNT), length = 0;

	for (uint32_t i = 0; i < count; i++) {
		uint64_t entry = entry_of(list, i);

		if (entry >> 52 > 1 && (!is_delta(entry) || model_field(frame, AT_TYPE, 2) == SYNC))
			return ENCODING;
		if ((entry & ((1ull << 52) - 1)) >= MODEL_PAGES)
			return GFN;
		length += model_contents_len(entry);
	}
	return length == u32(frame, AT_PAGES_LEN) ? NOT_REFUSED : PAGES_LEN;
}

/* The list is good. */
static enum model_refusal judge_masks(const uint8_t *frame, const uint8_t *list)
{
	const uint8_t *contents = list + 8 * u32(frame, AT_PAGE_COUNT);

	for (uint32_t i = 0; i < u32(frame, AT_PAGE_COUNT); i++) {
		uint64_t entry = entry_of(list, i);
		uint32_t lines = 0;

		if (is_delta(entry)) {
			for (uint32_t bit = 0; bit < 64; bit++)
				lines += contents[bit / 8] >> bit % 8 & 1;
			if (lines != entry >> 56)
				return ENCODING;
		}
		contents += model_contents_len(entry);
	}
	return NOT_REFUSED;
}

static const uint8_t *log_of(const uint8_t *frame)
{
	return frame + HEADER_BYTES + model_body_len(frame) - u32(frame, AT_EXTRA_LEN);
}

/* Judges every record, or, with a disk, applies every one. */
static enum model_refusal go_through_log(const uint8_t *log, uint32_t length, uint8_t *disk)
{
	uint32_t at = 0;

	while (at < length) {
		uint64_t offset, bytes;
		uint32_t kind;

		if (length - at < 16)
			return DISK_WRITES;
		offset = model_field(log + at, 0, 8);
		bytes = model_field(log + at, 8, 4);
		kind = (uint32_t)model_field(log + at, 12, 4);
		at += 16;
		if (kind < WRITE || kind > FLUSH || (kind == FLUSH) != (bytes == 0) || (kind == FLUSH && offset) ||
		    offset > MODEL_DISK_BYTES || bytes > MODEL_DISK_BYTES - offset ||
		    (kind == WRITE && (bytes + 7) / 8 * 8 > length - at))
			return DISK_WRITES;
		if (disk && kind == WRITE)
			memcpy(disk + offset, log + at, bytes);
		else if (disk && bytes)
			memset(disk + offset, 0, bytes);
		if (kind == WRITE)
			at += (uint32_t)(bytes + 7) / 8 * 8;
	}
	return NOT_REFUSED;
}

static void apply(struct standby_model *model, const uint8_t *frame)
{
	const uint8_t *list = frame + HEADER_BYTES + u32(frame, AT_STATE_LEN);
	const uint8_t *contents = list + 8 * u32(frame, AT_PAGE_COUNT);

	for (uint32_t i = 0; i < u32(frame, AT_PAGE_COUNT); i++) {
		uint64_t entry = entry_of(list, i);
		uint8_t *page = model->image[entry & ((1ull << 52) - 1)];

		if (entry >> 52 == 0) {
			memcpy(page, contents, MODEL_PAGE_BYTES);
		} else if (is_delta(entry)) {
			const uint8_t *line = contents + 8;

			for (uint32_t bit = 0; bit < 64; bit++) {
				if (!(contents[bit / 8] >> bit % 8 & 1))
					continue;
				memcpy(page + bit * MODEL_LINE_BYTES, line, MODEL_LINE_BYTES);
				line += MODEL_LINE_BYTES;
			}
		} else {
			memset(page, 0, MODEL_PAGE_BYTES);
		}
		contents += model_contents_len(entry);
	}
}

static void complete(struct standby_model *model, const uint8_t *frame)
{
	for (uint32_t i = 0; i < model->parts_received; i++)
		apply(model, model->parts[i]);
	go_through_log(log_of(frame), u32(frame, AT_EXTRA_LEN), model->disk);
	model->parts_received = 0;
	model->epoch++;
	if (model->epoch < MODEL_EPOCHS_MAX)
		model->stamps[model->epoch] = model_field(frame, AT_STAMP, 8);
	model->state = frame + HEADER_BYTES;
	model->state_len = u32(frame, AT_STATE_LEN);
}

static bool refuse(struct standby_model *model, enum model_refusal refusal)
{
	model->refusal = refusal;
	if (refusal)
		model->end = ENDS_REFUSED;
	return refusal != NOT_REFUSED;
}

/*
 * The list is judged as soon as it is there, because contents go from the
 * socket to where it points; the checksum when all has come.
 */
static bool take_sync(struct standby_model *model, const uint8_t *frame, size_t length)
{
	size_t list_len = 8 * u32(frame, AT_PAGE_COUNT), body_len = (size_t)model_body_len(frame);

	model->image_undefined = true;
	model->needed = HEADER_BYTES + list_len;
	if (length < model->needed || refuse(model, judge_list(frame, frame + HEADER_BYTES)))
		return false;
	model->needed = HEADER_BYTES + body_len;
	if (length < model->needed)
		return false;
	if (ftd_crc32c(0, frame + HEADER_BYTES, body_len) != u32(frame, AT_BODY_CRC)) {
		refuse(model, BODY_CRC);
		return false;
	}
	model->image_undefined = false;
	apply(model, frame);
	return true;
}

static bool take_epoch(struct standby_model *model, const uint8_t *frame, size_t length)
{
	size_t body_len = (size_t)model_body_len(frame);
	const uint8_t *body = frame + HEADER_BYTES;

	model->needed = HEADER_BYTES + body_len;
	if (length < model->needed)
		return false;
	if (ftd_crc32c(0, body, body_len) != u32(frame, AT_BODY_CRC)) {
		refuse(model, BODY_CRC);
		return false;
	}
	if (refuse(model, judge_list(frame, body + u32(frame, AT_STATE_LEN))) ||
	    refuse(model, judge_masks(frame, body + u32(frame, AT_STATE_LEN))) ||
	    refuse(model, go_through_log(log_of(frame), u32(frame, AT_EXTRA_LEN), NULL)))
		return false;
	model->parts[model->parts_received++] = frame;
	if (model_field(frame, AT_TYPE, 2) == EPOCH)
		complete(model, frame);
	return true;
}

static bool take_disk(struct standby_model *model, const uint8_t *frame, size_t length)
{
	uint32_t extra_len = u32(frame, AT_EXTRA_LEN);

	model->needed = HEADER_BYTES + extra_len;
	if (length < model->needed)
		return false;
	if (ftd_crc32c(0, frame + HEADER_BYTES, extra_len) != u32(frame, AT_BODY_CRC)) {
		refuse(model, BODY_CRC);
		return false;
	}
	if (refuse(model, go_through_log(log_of(frame), extra_len, NULL)))
		return false;
	go_through_log(log_of(frame), extra_len, model->disk);
	return true;
}

/* false: nothing after this frame counts. */
static bool take_frame(struct standby_model *model, const uint8_t *frame, size_t length)
{
	enum model_refusal refusal;

	model->needed = HEADER_BYTES;
	if (length < model->needed)
		return false;
	refusal = judge_identity(model, frame);
	if (!refusal)
		refusal = judge_lengths(model, frame);
	if (!refusal)
		refusal = judge_number(model, frame);
	if (refuse(model, refusal))
		return false;
	switch (model_field(frame, AT_TYPE, 2)) {
	case SYNC:
		return take_sync(model, frame, length);
	case DISK:
		return take_disk(model, frame, length);
	case LEAVE:
		model->end = ENDS_WITH_LEAVE;
		return false;
	case HANDOVER:
		model->end = ENDS_WITH_HANDOVER;
		return false;
	default:
		return take_epoch(model, frame, length);
	}
}

void standby_model_judge(struct standby_model *model, const uint8_t *bytes, size_t length)
{
	size_t at = 0;

	model->end = ENDS_CLOSED;
	while (take_frame(model, bytes + at, length - at))
		at += HEADER_BYTES + (size_t)model_body_len(bytes + at);
	model->judged = model->needed < length - at ? at + model->needed : length;
}
