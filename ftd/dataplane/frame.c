/* SPDX-License-Identifier: Apache-2.0 */
#include "frame.h"

#include "crc32c.h"
#include "disk_log.h"
#include "memory_map.h"

void frame_prepare(struct frame_header *header, const struct frame_rules *rules, enum frame_type type,
		   uint64_t epoch)
{
	memset(header, 0, sizeof(*header));
	header->magic = FRAME_MAGIC;
	header->version = FRAME_VERSION;
	header->type = (uint16_t)type;
	memcpy(header->vm_id, rules->vm_id, sizeof(header->vm_id));
	header->generation = rules->generation;
	header->pair = rules->pair;
	header->epoch = epoch;
}

void frame_seal(struct frame_header *header)
{
	header->header_crc = ftd_crc32c(0, header, offsetof(struct frame_header, header_crc));
}

#define TYPES_WITH_LIST (FRAME_BIT(FRAME_SYNC) | FRAME_BIT(FRAME_EPOCH) | FRAME_BIT(FRAME_PART))
#define TYPES_WITH_EXTRA (FRAME_BIT(FRAME_EPOCH) | FRAME_BIT(FRAME_DISK))
#define TYPES_WITH_STATE \
	(FRAME_BIT(FRAME_HELLO) | FRAME_BIT(FRAME_REFUSE) | FRAME_BIT(FRAME_EPOCH) | FRAME_BIT(FRAME_DIGESTS))

static enum refusal check_lengths(const struct frame_header *header, const struct frame_rules *rules,
				  const struct frame_position *position)
{
	bool state_misplaced = header->state_len && !(TYPES_WITH_STATE & FRAME_BIT(header->type));
	bool list_misplaced = (header->page_count || header->pages_len) && !(TYPES_WITH_LIST & FRAME_BIT(header->type));

	bool extra_misplaced = header->extra_len && !(TYPES_WITH_EXTRA & FRAME_BIT(header->type));

	if (state_misplaced || list_misplaced || extra_misplaced)
		return REFUSED_LENGTH;
	if (header->state_len > rules->state_max || header->page_count > rules->pages_max ||
	    header->extra_len > rules->extra_max)
		return REFUSED_OVERSIZE;
	/* A PART must leave room for the EPOCH that closes it. */
	if (header->type == FRAME_PART && position->parts_received + 2 > rules->parts_max)
		return REFUSED_OVERSIZE;
	if (header->pages_len % 8 != 0 || header->pages_len > header->page_count * (uint64_t)FTD_PAGE_SIZE)
		return REFUSED_PAGES_LEN;
	if (frame_body_len(header) == 0 && header->body_crc != 0)
		return REFUSED_BODY_CRC;
	return REFUSED_NOT;
}

static enum refusal check_epoch(const struct frame_header *header, const struct frame_position *position)
{
	uint64_t last = position->epoch_last;
	bool right;

	switch (header->type) {
	case FRAME_EPOCH:
	case FRAME_PART:
		if (header->epoch <= last)
			return REFUSED_DUPLICATE;
		right = header->epoch == last + 1;
		break;
	case FRAME_SYNC:
	case FRAME_DISK:
		/* Once an epoch is complete or begun, nothing outside an epoch may write into memory or disk. */
		right = header->epoch == 0 && last == 0 && position->parts_received == 0;
		break;
	case FRAME_LEAVE:
	case FRAME_HANDOVER:
		right = header->epoch == last && position->parts_received == 0;
		break;
	case FRAME_ACK:
		/* One ACK may stand for several epochs: they complete in order. */
		right = header->epoch > last && header->epoch <= position->epoch_sent;
		break;
	default:
		right = header->epoch == 0;
		break;
	}
	return right ? REFUSED_NOT : REFUSED_EPOCH;
}

static uint32_t flags_of(enum frame_type type)
{
	if (type == FRAME_HEARTBEAT)
		return HEARTBEAT_ECHO | HEARTBEAT_STANDBY;
	return type == FRAME_DISK_FAILED ? DISK_FAILED_ERRNO : 0;
}

enum refusal frame_check_header(const struct frame_header *header, const struct frame_rules *rules,
				const struct frame_position *position)
{
	uint32_t flags_known = flags_of((enum frame_type)header->type);
	enum refusal refusal;

	if (header->magic != FRAME_MAGIC)
		return REFUSED_MAGIC;
	if (header->header_crc != ftd_crc32c(0, header, offsetof(struct frame_header, header_crc)))
		return REFUSED_HEADER_CRC;
	if (header->version != FRAME_VERSION)
		return REFUSED_VERSION;
	if (header->type == 0 || header->type >= FRAME_TYPES || !(rules->allowed & FRAME_BIT(header->type)))
		return REFUSED_TYPE;
	if (memcmp(header->vm_id, rules->vm_id, sizeof(header->vm_id)) != 0)
		return REFUSED_VM;
	if (header->generation != rules->generation)
		return REFUSED_GENERATION;
	if (header->flags & ~flags_known)
		return REFUSED_FLAGS;
	if (header->pair != rules->pair)
		return REFUSED_PAIR;
	refusal = check_lengths(header, rules, position);
	return refusal ? refusal : check_epoch(header, position);
}

/* Need not be aligned. */
static uint64_t entry_at(const void *list, uint32_t index)
{
	uint64_t entry;

	memcpy(&entry, (const char *)list + 8ull * index, sizeof(entry));
	return entry;
}

static bool encoding_is_good(const struct frame_header *header, uint64_t entry)
{
	uint32_t lines = ENTRY_LINES(entry);

	/* In the first synchronisation there is no page that was sent before. */
	if (ENTRY_ENCODING(entry) == ENCODING_DELTA)
		return header->type != FRAME_SYNC && lines >= 1 && lines <= LINES_MAX;
	return ENTRY_ENCODING(entry) < ENCODING_DELTA && lines == 0;
}

enum refusal frame_check_list(const struct frame_header *header, const void *list,
			      const struct frame_rules *rules)
{
	uint64_t pages = rules->memory_bytes >> FTD_PAGE_SHIFT;
	uint64_t contents = 0;

	for (uint32_t i = 0; i < header->page_count; i++) {
		uint64_t entry = entry_at(list, i);

		if (!encoding_is_good(header, entry))
			return REFUSED_ENCODING;
		if (page_of(entry & ENTRY_GFN_MASK, pages) == NO_PAGE)
			return REFUSED_GFN;
		contents += entry_len(entry);
	}
	return contents == header->pages_len ? REFUSED_NOT : REFUSED_PAGES_LEN;
}

enum refusal frame_check_deltas(const struct frame_header *header, const void *list, const char *contents)
{
	for (uint32_t i = 0; i < header->page_count; i++) {
		uint64_t entry = entry_at(list, i), mask;

		if (ENTRY_ENCODING(entry) == ENCODING_DELTA) {
			memcpy(&mask, contents, sizeof(mask));
			if ((uint32_t)__builtin_popcountll(mask) != ENTRY_LINES(entry))
				return REFUSED_ENCODING;
		}
		contents += entry_len(entry);
	}
	return REFUSED_NOT;
}

int ftd_frame_check(const void *frame, uint64_t length, const ftd_frame_context *context)
{
	struct frame_rules rules = { .generation = context->generation, .pair = context->pair, .memory_bytes = context->memory_bytes,
				     .disk_bytes = context->disk_bytes, .extra_max = context->extra_max,
				     .state_max = context->state_max, .pages_max = context->epoch_pages_max,
				     .parts_max = context->parts_max, .allowed = context->allowed };
	struct frame_position position = { context->epoch_last, context->epoch_sent, context->parts_received };
	struct frame_header header;
	const char *body = (const char *)frame + sizeof(header);
	enum refusal refusal;

	memcpy(rules.vm_id, context->vm_id, sizeof(rules.vm_id));
	if (length < sizeof(header))
		return REFUSED_LENGTH;
	memcpy(&header, frame, sizeof(header));
	refusal = frame_check_header(&header, &rules, &position);
	if (refusal)
		return (int)refusal;
	if (frame_body_len(&header) > length - sizeof(header))
		return REFUSED_LENGTH;
	if (ftd_crc32c(0, body, frame_body_len(&header)) != header.body_crc)
		return REFUSED_BODY_CRC;
	refusal = frame_check_list(&header, body + header.state_len, &rules);
	if (!refusal)
		refusal = frame_check_deltas(&header, body + header.state_len, body + header.state_len + 8ull * header.page_count);
	if (refusal)
		return (int)refusal;
	return (int)disk_log_check(body + frame_body_len(&header) - header.extra_len, header.extra_len, rules.disk_bytes);
}
