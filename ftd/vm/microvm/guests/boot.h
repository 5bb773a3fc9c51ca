/*
 * What a bare guest finds when it starts, and the few instructions C has no words for.
 *
 * The machine enters the image at its first byte, in 64-bit long mode at CPL 3 with IOPL 3, memory mapped
 * one to one. rdi holds the vCPU's index, rsi points at the boot block, rsp is the top of a stack of 16 KiB.
 * There are no interrupts and no IDT: a guest polls, and a fault ends it.
 *
 *     0x006000  counters, read by the host        0x080000  stacks, downwards, 16 KiB a vCPU
 *     0x007000  boot block                        0x100000  image, .bss behind it
 *     0x010000  page tables (not to be touched)   0x400000  the guest's own pages
 */
#ifndef FTD_GUEST_BOOT_H
#define FTD_GUEST_BOOT_H

#include <stdint.h>

#define PAGE_BYTES 4096ULL
#define BOOT_MAGIC 0x31544f4f42445446ULL /* "FTDBOOT1" */
#define COUNTERS_ADDRESS 0x6000ULL
#define COUNTERS_PER_VCPU 8 /* one cache line */
#define DATA_ADDRESS 0x400000ULL
#define MMIO_HOLE_START (3ULL << 30)
#define MMIO_HOLE_BYTES (1ULL << 30)

struct boot_block {
    uint64_t magic;
    uint64_t memory_bytes;
    uint64_t vcpus;
    uint64_t reserved;
    uint64_t args[16];
};
_Static_assert(sizeof(struct boot_block) == 160, "the host writes this layout");

/* Every guest defines this; returning from it parks the vCPU. */
void guest_main(uint64_t vcpu, const struct boot_block *boot);

/* The line of host-visible counters of one vCPU. */
static inline volatile uint64_t *counters_of(uint64_t vcpu)
{
    return (volatile uint64_t *)COUNTERS_ADDRESS + COUNTERS_PER_VCPU * vcpu;
}

static inline uint64_t arg_or(uint64_t arg, uint64_t fallback)
{
    return arg != 0 ? arg : fallback;
}

/* Memory goes round the hole below 4 GiB: from an offset in memory to the address the guest sees it at. */
static inline uint64_t ram_address(uint64_t offset)
{
    return offset < MMIO_HOLE_START ? offset : offset + MMIO_HOLE_BYTES;
}

/* How many of `wanted` pages from `offset` on lie inside memory. */
static inline uint64_t pages_that_fit(const struct boot_block *boot, uint64_t offset, uint64_t wanted)
{
    uint64_t room = offset < boot->memory_bytes ? (boot->memory_bytes - offset) / PAGE_BYTES : 0;
    return wanted < room ? wanted : room;
}

static inline void cpu_pause(void)
{
    __asm__ volatile("pause" ::: "memory");
}

static inline void spin(uint64_t count)
{
    for (; count != 0; count--)
        cpu_pause();
}

static inline void compiler_barrier(void)
{
    __asm__ volatile("" ::: "memory");
}

static inline uint8_t port_read8(uint16_t port)
{
    uint8_t value;
    __asm__ volatile("inb %1, %0" : "=a"(value) : "Nd"(port) : "memory");
    return value;
}

static inline void port_write8(uint16_t port, uint8_t value)
{
    __asm__ volatile("outb %0, %1" ::"a"(value), "Nd"(port) : "memory");
}

/* Plain moves of 32 bits: the only width virtio-mmio registers allow, and what every KVM can emulate. */
static inline uint32_t mmio_read32(uint64_t address)
{
    uint32_t value;
    __asm__ volatile("movl (%1), %0" : "=r"(value) : "r"(address) : "memory");
    return value;
}

static inline void mmio_write32(uint64_t address, uint32_t value)
{
    __asm__ volatile("movl %0, (%1)" ::"r"(value), "r"(address) : "memory");
}

#endif
