/* SPDX-License-Identifier: Apache-2.0 */
#include "frame.h"

#include "crc32c.h"
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
	header->epoch = epoch;
}

void frame_seal(struct frame_header *header)
{
	header->header_crc = ftd_crc32c(0, header, offsetof(struct frame_header, header_crc));
}

static bool type_has_list(unsigned int type)
{
	return type == FRAME_SYNC || type == FRAME_EPOCH || type == FRAME_PART;
}

static enum refusal check_lengths(const struct frame_header *header, const struct frame_rules *rules)
{
	bool state_allowed = header->type == FRAME_EPOCH || header->type == FRAME_REFUSE;

	if (header->extra_len != 0 || (header->state_len != 0 && !state_allowed))
		return REFUSED_LENGTH;
	if (!type_has_list(header->type) && (header->page_count != 0 || header->pages_len != 0))
		return REFUSED_LENGTH;
	if (header->state_len > rules->state_max || header->page_count > rules->pages_max)
		return REFUSED_OVERSIZE;
	if (header->pages_len % FTD_PAGE_SIZE != 0 || header->pages_len / FTD_PAGE_SIZE > header->page_count)
		return REFUSED_PAGES_LEN;
	if (frame_body_len(header) == 0 && header->body_crc != 0)
		return REFUSED_BODY_CRC;
	return REFUSED_NOT;
}

static enum refusal check_epoch(const struct frame_header *header, uint64_t last_epoch, uint64_t part_epoch)
{
	uint64_t next = last_epoch + 1;

	switch (header->type) {
	case FRAME_EPOCH:
	case FRAME_PART:
		if (header->epoch == next)
			return REFUSED_NOT;
		return header->epoch < next ? REFUSED_DUPLICATE : REFUSED_EPOCH;
	case FRAME_SYNC:
		/* The image must never be written from outside an epoch once it is whole. */
		return last_epoch == 0 && part_epoch == 0 && header->epoch == 0 ? REFUSED_NOT : REFUSED_EPOCH;
	case FRAME_LEAVE:
	case FRAME_HANDOVER:
		return header->epoch == last_epoch && part_epoch == 0 ? REFUSED_NOT : REFUSED_EPOCH;
	default:
		return REFUSED_NOT;
	}
}

enum refusal frame_check_header(const struct frame_header *header, const struct frame_rules *rules,
				uint64_t last_epoch, uint64_t part_epoch)
{
	uint32_t flags_known = header->type == FRAME_HEARTBEAT ? HEARTBEAT_ECHO | HEARTBEAT_STANDBY : 0;
	enum refusal refusal;

	if (header->magic != FRAME_MAGIC)
		return REFUSED_MAGIC;
	if (header->header_crc != ftd_crc32c(0, header, offsetof(struct frame_header, header_crc)))
		return REFUSED_HEADER_CRC;
	if (header->version != FRAME_VERSION)
		return REFUSED_VERSION;
	if (header->type == 0 || header->type > FRAME_HANDOVER_DONE || !(rules->allowed & FRAME_BIT(header->type)))
		return REFUSED_TYPE;
	if (memcmp(header->vm_id, rules->vm_id, sizeof(header->vm_id)) != 0)
		return REFUSED_VM;
	if (header->generation != rules->generation)
		return REFUSED_GENERATION;
	if (header->flags & ~flags_known)
		return REFUSED_FLAGS;
	if (header->reserved != 0)
		return REFUSED_RESERVED;
	refusal = check_lengths(header, rules);
	return refusal ? refusal : check_epoch(header, last_epoch, part_epoch);
}

enum refusal frame_check_list(const struct frame_header *header, const void *list,
			      const struct frame_rules *rules)
{
	uint64_t pages = rules->memory_bytes >> FTD_PAGE_SHIFT;
	uint64_t raw = 0;

	for (uint32_t i = 0; i < header->page_count; i++) {
		uint64_t entry;

		memcpy(&entry, (const char *)list + 8ull * i, sizeof(entry));	/* need not be aligned */
		if (ENTRY_ENCODING(entry) > ENCODING_ZERO)
			return REFUSED_ENCODING;
		if (page_of(entry & ENTRY_GFN_MASK, pages) == NO_PAGE)
			return REFUSED_GFN;
		raw += ENTRY_ENCODING(entry) == ENCODING_RAW;
	}
	return raw * FTD_PAGE_SIZE == header->pages_len ? REFUSED_NOT : REFUSED_PAGES_LEN;
}

int ftd_frame_check(const void *frame, uint64_t length, const ftd_link_config *link, uint64_t memory_bytes,
		    uint64_t last_epoch, uint32_t allowed_types)
{
	struct frame_rules rules = { .generation = link->generation, .memory_bytes = memory_bytes,
				     .state_max = STATE_MAX_BYTES, .pages_max = link->epoch_pages_max,
				     .allowed = allowed_types };
	struct frame_header header;
	const char *body = (const char *)frame + sizeof(header);
	enum refusal refusal;

	memcpy(rules.vm_id, link->vm_id, sizeof(rules.vm_id));
	if (length < sizeof(header))
		return REFUSED_LENGTH;
	memcpy(&header, frame, sizeof(header));
	refusal = frame_check_header(&header, &rules, last_epoch, 0);
	if (refusal)
		return (int)refusal;
	if (frame_body_len(&header) != length - sizeof(header))
		return REFUSED_LENGTH;
	if (length > sizeof(header) && ftd_crc32c(0, body, length - sizeof(header)) != header.body_crc)
		return REFUSED_BODY_CRC;
	return (int)frame_check_list(&header, body + header.state_len, &rules);
}
