"""The programs see what they are there to see: each of these breaks the product in one place, and the program
must fail."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from tests.dataplane.programs import CHECK_FAILED, SANITIZER_FAILED, Builder, run


@dataclass(frozen=True)
class Plant:
    """Replaces `right` in a source by `wrong`."""

    name: str
    program: str
    source: str
    right: str
    wrong: str
    cases: int = 4000


PLANTS = [
    Plant(
        "a transfer past the end of the disk",
        "block_model",
        "block.c",
        "sectors <= all - sector",
        "sectors <= all",
    ),
    Plant(
        "more ranges than there is room for",
        "block_model",
        "block.c",
        "length > sizeof(asked)",
        "length > 4096",
    ),
    Plant("an unknown flag of a range", "block_model", "block.c", "(asked[i].flags & ~UNMAP) ||", ""),
    Plant(
        *("the status is not the last byte", "block_model", "block.c"),
        "request->chain.writable - 1, &request->status, 1)",
        "0, &request->status, 1)",
    ),
    Plant(
        "a transfer that is not of whole sectors",
        "block_model",
        "block.c",
        "length % BLOCK_SECTOR_BYTES ||",
        "",
    ),
    Plant("a broken device goes on", "block_model", "virtio.c", "!state->broken &&", ""),
    Plant(
        "carried too short a way",
        "crc32c_model",
        "crc32c.c",
        "power_of_x(bits - 32)",
        "power_of_x(bits - 31)",
    ),
    Plant(
        "halves of a register are swapped", "crc32c_model", "crc32c.c", "carry, 0x11)));", "carry, 0x01)));"
    ),
    Plant(
        "starving is never over",
        "pace_model",
        "pace.c",
        "PACE_ONE - 1) / PACE_ONE, PACE_ONE)",
        "0) / 64, PACE_ONE)",
    ),
    Plant(
        "stretched without end",
        "pace_model",
        "pace.c",
        "min_u64(stretch + stretch / 2, PACE_STRETCH_MAX)",
        "(stretch * 2)",
    ),
    Plant("a decision is dropped", "events_overflow", "events.c", "EVENTS_MAX - (kind", "32 + 0 * (kind"),
    Plant("a hot page is not compared", "hotset_model", "hotset.c", "if (changed) {", "if (changed > 9) {"),
    Plant("half a line is compared", "hotset_model", "hotset.c", "at < LINE_BYTES;", "at < LINE_BYTES / 2;"),
    Plant(
        *("what went unjudged is not in the copy", "hotset_model", "hotset.c"),
        "\tif (set->max && set->pages[page].slot)",
        "\tif (set->max > HOT_PAGES_MAX)",
    ),
    Plant(
        *("lines go where they do not belong", "fuzz_standby", "image.c"),
        "memcpy(page + (unsigned int)__builtin_ctzll(lines) * LINE_BYTES",
        "memcpy(page + 0 * __builtin_ctzll(lines)",
    ),
    Plant(
        *("a mask is not judged", "fuzz_standby", "standby.c"),
        "\t\trefusal = frame_check_deltas(header, staging->list, staging->pages);",
        "\t\t(void)frame_check_deltas;",
    ),
    Plant(
        *("the copy of a hot page grows old", "hotset_model", "hotset.c"),
        "\t\tmemcpy(copy + line * LINE_BYTES, contents + line * LINE_BYTES, LINE_BYTES);\n",
        "",
    ),
    Plant(
        *("a page that leaves the set is not re-armed for good", "hotset_model", "hotset.c"),
        "\thot->slot = 0;\n\thot->streak = 0;",
        "\thot->streak = 0;",
    ),
    Plant(
        *("a released page is reported no more", "mt_model", "tracker_mt.c"),
        "\t\t\topen->pages[kept++] = open->pages[i];",
        "\t\t\t(void)kept;",
    ),
    Plant(
        *("a page left un-armed is forgotten when another is re-armed", "mt_model", "tracker_mt.c"),
        "open->pages[i] == pages[closed])",
        "open->pages[i] >= pages[closed])",
    ),
    Plant(
        *("the whole list is re-armed though some of it was to stay", "mt_model", "tracker_mt.c"),
        "page_count == fresh && pages[0] == mt->open.pages[mt->fresh]",
        "pages[0] == mt->open.pages[mt->fresh]",
    ),
    Plant(
        *("pages open before are taken for the sealed list", "mt_model", "tracker_mt.c"),
        " && pages[0] == mt->open.pages[mt->fresh]",
        "",
    ),
    Plant(
        *("a harvest that came to nothing is forgotten", "mt_model", "tracker_mt.c"),
        "\tmt->fresh = mt->open.count;\n\tfor",
        "\tmt->open.count = mt->fresh;\n\tmt->fresh = mt->open.count;\n\tfor",
    ),
    Plant("an overflow is overlooked", "mt_model", "tracker_mt.c", "KVM_MT_STATUS_OVERFLOW", "0"),
    Plant(
        "an entry is taken before it is whole",
        "mt_model",
        "tracker_mt.c",
        "entry & KVM_MT_ENTRY_VALID",
        "true",
    ),
    Plant("frame numbers are page numbers", "mt_model", "tracker_mt.c", "gfn_of(pages[i])", "pages[i]"),
    Plant(
        *("the threshold has no room for the hot set", "mt_model", "tracker_mt.c"),
        "limits->epoch - limits->unarmed",
        "limits->epoch",
    ),
    Plant(
        *("a shared job ends before all of it is done", "share_model", "share.c"),
        "memory_order_acquire) < item_count)",
        "memory_order_acquire) < 1)",
        20_000,
    ),
    Plant(
        *("a piece is taken twice", "share_model", "share.c"),
        "claim + job->piece,",
        "claim + (job->piece + 1) / 2,",
    ),
    Plant(
        *("the gate opens an epoch early", "output_model", "output.c"),
        "limit, channel->marks[epoch % EPOCH_MARKS]",
        "limit, channel->marks[(epoch + 1) % EPOCH_MARKS]",
    ),
    Plant("output leaves in doubt", "output_model", "output.c", "if (output_in_doubt(output))", "if (false)"),
    Plant(
        "an older echo counts as a newer",
        "output_model",
        "output.c",
        "stamp_ns > atomic_load",
        "!!atomic_load",
    ),
    Plant("an echo from the future counts", "output_model", "output.c", "stamp_ns <= now && ", ""),
    Plant("a proof never grows old", "output_model", "output.c", "now - proof > atomic_load", "!atomic_load"),
    Plant("a shut gate is open", "output_model", "output.c", "atomic_load(&output->shut)", "false"),
    Plant(
        *("the ring's wrap is overlooked", "output_model", "output.c"),
        "memcpy(channel->ring, (const char *)data + first, length - first);",
        "",
    ),
    Plant(
        *("an epoch's checksum is not looked at", "fuzz_standby", "standby.c"),
        "frame_body_len(header) && crc != header->body_crc",
        "false",
    ),
    Plant(
        *("a part is applied before the epoch is whole", "fuzz_standby", "standby.c"),
        "\tstandby->parts++;\n\treturn true;",
        "\timage_apply(&standby->image, staging->list, header->page_count, staging->pages);\n"
        "\tstandby->parts++;\n\treturn true;",
    ),
    Plant(
        *("parts but the last are forgotten", "fuzz_standby", "standby.c"),
        "for (uint32_t i = 0; i < standby->parts; i++)\n\t\timage_apply",
        "for (uint32_t i = standby->parts - 1; i < standby->parts; i++)\n\t\timage_apply",
    ),
    Plant(
        *("the state is of the epoch before", "fuzz_standby", "standby.c"),
        "\tstandby->state = standby->state_staged;\n\tstandby->state_staged = state;",
        "\t(void)state;",
    ),
    Plant(
        *("a part is acknowledged", "fuzz_standby", "standby.c"),
        "(header->type == FRAME_PART)\n\t\treturn true;",
        "(header->type == FRAME_PART)\n\t\treturn send_answer(standby, FRAME_ACK, header->epoch, 0);",
    ),
    Plant(
        *("what has come whole is lost at a stop", "fuzz_standby", "standby.c"),
        "if (!receive(standby, &header, sizeof(header)))",
        "if (atomic_load(&standby->stopping) || !receive(standby, &header, sizeof(header)))",
    ),
    Plant(
        *("a list longer than its arena", "fuzz_standby", "frame.c"),
        " || header->page_count > rules->pages_max",
        "",
    ),
    Plant(
        *("a part more than there are arenas", "fuzz_standby", "frame.c"),
        "position->parts_received + 2 > rules->parts_max",
        "false",
        20_000,
    ),
    Plant(
        *("a page outside memory", "fuzz_standby", "frame.c"),
        "page_of(entry & ENTRY_GFN_MASK, pages) == NO_PAGE",
        "false",
    ),
    Plant(
        *("an epoch's disk writes are not judged", "fuzz_standby", "standby.c"),
        "\tif (!refusal)\n\t\trefusal = disk_log_check(",
        "\tif (false)\n\t\trefusal = disk_log_check(",
    ),
    Plant(
        *("a disk write past the end", "fuzz_standby", "disk_log.c"),
        " && record->length <= disk_bytes - record->offset",
        "",
    ),
    Plant(
        *("a refused acknowledgement counts", "fuzz_acks", "primary.c"),
        "primary_refused(primary, refusal);\n\t} else if",
        "primary_refused(primary, refusal);\n\t}\n\tif",
    ),
    Plant(
        "the gate stays open for a lost peer", "fuzz_acks", "primary.c", "if (first_sealed)\n", "if (false)\n"
    ),
    Plant("a frame is sent that is none", "net_model", "net.c", "length < NET_FRAME_MIN || ", "", 300),
    Plant(
        *("nobody remembers that frames wait for the gate", "net_model", "net.c"),
        "vm->net.transmit_waits = true;",
        "",
        300,
    ),
    Plant(
        *("nobody remembers that frames wait for a harvest", "net_model", "net.c"),
        "atomic_store(&vm->net.marks_short, true);",
        "",
        300,
    ),
    Plant(
        *("pages are marked without asking for room", "net_model", "net.c"),
        "virtio_chain_pages(length, chain.count)",
        "1",
        300,
    ),
    Plant(
        *("a buffer is filled beyond its end", "net_model", "net.c"),
        "chain.writable < length",
        "chain.writable < frame->length",
        300,
    ),
    Plant(
        *("a frame is cut at the end of the ring", "net_model", "output.c"),
        "return length > first ? 2 : 1;",
        "pieces[1].iov_len = 0;\n\treturn 1;",
        4000,
    ),
]


@pytest.mark.parametrize("plant", PLANTS, ids=lambda plant: plant.name)
def test_planted_fault_is_seen(builder: Builder, plant: Plant) -> None:
    def edit(text: str) -> str:
        return text.replace(plant.right, plant.wrong)

    program = builder.program(plant.program, edit=edit, edited=plant.source)
    done = run(program, 1, plant.cases)
    assert done.returncode in (CHECK_FAILED, SANITIZER_FAILED), done.stderr[-2000:]
