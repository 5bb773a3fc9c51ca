#include "disk.h"

#include "boot.h"

#define DISK_BASE 0xd0002000ULL

enum register_offset {
    REG_MAGIC = 0x000,
    REG_DEVICE_ID = 0x008,
    REG_DRIVER_FEATURES = 0x020,
    REG_DRIVER_FEATURES_SEL = 0x024,
    REG_QUEUE_SEL = 0x030,
    REG_QUEUE_NUM = 0x038,
    REG_QUEUE_READY = 0x044,
    REG_QUEUE_NOTIFY = 0x050,
    REG_STATUS = 0x070,
    REG_QUEUE_DESC = 0x080,
    REG_QUEUE_DRIVER = 0x090,
    REG_QUEUE_DEVICE = 0x0a0,
    REG_CAPACITY = 0x100,
};

enum { STATUS_DRIVER = 3, STATUS_FEATURES_OK = 8, STATUS_DRIVER_OK = 4 };
enum { FEATURE_FLUSH = 1u << 9, FEATURE_DISCARD = 1u << 13, FEATURE_ZEROES = 1u << 14, FEATURE_VERSION_1 = 1u };
enum { DESC_NEXT = 1, DESC_DEVICE_WRITES = 2 };

#define VIRTIO_MAGIC 0x74726976
#define DEVICE_ID_DISK 2
#define ENTRIES 32u
#define CHAIN 3u /* header, data, status */

struct descriptor {
    uint64_t address;
    uint32_t length;
    uint16_t flags;
    uint16_t next;
};

struct range {
    uint64_t sector;
    uint32_t sectors;
    uint32_t flags;
};

struct slot {
    struct {
        uint32_t type;
        uint32_t reserved;
        uint64_t sector;
    } header;
    struct range range;
    volatile uint8_t status;
};

static _Alignas(16) volatile struct descriptor descriptors[ENTRIES];
static _Alignas(4) volatile struct {
    uint16_t flags;
    uint16_t index;
    uint16_t ring[ENTRIES];
} available;
static _Alignas(4) volatile struct {
    uint16_t flags;
    uint16_t index;
    struct {
        uint32_t id;
        uint32_t length;
    } ring[ENTRIES];
} used;
static struct slot slots[DISK_SLOTS];
static uint16_t used_index;
_Static_assert(CHAIN *DISK_SLOTS <= ENTRIES, "every slot has descriptors of its own");

static void write64(enum register_offset low, uint64_t value)
{
    mmio_write32(DISK_BASE + low, (uint32_t)value);
    mmio_write32(DISK_BASE + low + 4, (uint32_t)(value >> 32));
}

static void write_features(uint32_t word, uint32_t features)
{
    mmio_write32(DISK_BASE + REG_DRIVER_FEATURES_SEL, word);
    mmio_write32(DISK_BASE + REG_DRIVER_FEATURES, features);
}

uint64_t disk_open(void)
{
    if (mmio_read32(DISK_BASE + REG_MAGIC) != VIRTIO_MAGIC || mmio_read32(DISK_BASE + REG_DEVICE_ID) != DEVICE_ID_DISK)
        return 0;
    mmio_write32(DISK_BASE + REG_STATUS, 0);
    mmio_write32(DISK_BASE + REG_STATUS, STATUS_DRIVER);
    write_features(0, FEATURE_FLUSH | FEATURE_DISCARD | FEATURE_ZEROES);
    write_features(1, FEATURE_VERSION_1);
    mmio_write32(DISK_BASE + REG_STATUS, STATUS_DRIVER | STATUS_FEATURES_OK);
    mmio_write32(DISK_BASE + REG_QUEUE_SEL, 0);
    mmio_write32(DISK_BASE + REG_QUEUE_NUM, ENTRIES);
    write64(REG_QUEUE_DESC, (uint64_t)descriptors);
    write64(REG_QUEUE_DRIVER, (uint64_t)&available);
    write64(REG_QUEUE_DEVICE, (uint64_t)&used);
    mmio_write32(DISK_BASE + REG_QUEUE_READY, 1);
    mmio_write32(DISK_BASE + REG_STATUS, STATUS_DRIVER | STATUS_FEATURES_OK | STATUS_DRIVER_OK);
    return DISK_SECTOR_BYTES *
           (mmio_read32(DISK_BASE + REG_CAPACITY) | (uint64_t)mmio_read32(DISK_BASE + REG_CAPACITY + 4) << 32);
}

static void describe(uint32_t index, const volatile void *at, uint32_t length, uint16_t flags)
{
    descriptors[index].address = (uint64_t)at;
    descriptors[index].length = length;
    descriptors[index].flags = flags;
    descriptors[index].next = (uint16_t)(index + 1);
}

void disk_submit(uint32_t number, enum disk_request request, uint64_t offset, uint32_t length, void *data)
{
    struct slot *slot = &slots[number];
    uint32_t first = CHAIN * number, at = first;
    int transfers = request == DISK_READ || request == DISK_WRITE;

    slot->header.type = request;
    slot->header.sector = transfers ? offset / DISK_SECTOR_BYTES : 0;
    slot->range.sector = offset / DISK_SECTOR_BYTES;
    slot->range.sectors = length / DISK_SECTOR_BYTES;
    slot->range.flags = 0;
    describe(at++, &slot->header, sizeof(slot->header), DESC_NEXT);
    if (transfers)
        describe(at++, data, length, request == DISK_READ ? DESC_NEXT | DESC_DEVICE_WRITES : DESC_NEXT);
    else if (request != DISK_FLUSH)
        describe(at++, &slot->range, sizeof(slot->range), DESC_NEXT);
    describe(at, &slot->status, 1, DESC_DEVICE_WRITES);
    available.ring[available.index % ENTRIES] = (uint16_t)first;
    compiler_barrier(); /* x86 keeps stores in order */
    available.index++;
    mmio_write32(DISK_BASE + REG_QUEUE_NOTIFY, 0);
}

int disk_poll(uint8_t *status)
{
    if (used.index == used_index)
        return -1;
    compiler_barrier(); /* x86 keeps loads in order: the element is read after the index */
    uint32_t number = used.ring[used_index % ENTRIES].id / CHAIN % DISK_SLOTS;
    used_index++;
    *status = slots[number].status;
    return (int)number;
}
