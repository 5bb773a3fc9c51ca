#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "floor.h"

#define GIB (1UL << 30)
#define LARGE_PAGE (2UL << 20)
#define HOLE_START (3 * GIB)
#define HOLE_END (4 * GIB)
#define COUNTERS 0x6000
#define BOOT_BLOCK 0x7000
#define PML4 0x10000UL
#define PDPT 0x11000UL
#define DIRECTORIES 0x12000UL
#define TABLES_END 0x40000UL
#define STACKS_TOP 0x80000
#define STACK_BYTES 0x4000
#define ENTRY 0x100000
#define PRESENT_WRITE_USER 7
#define LARGE 0x80
#define CPUID_ENTRIES 256

static void create_memory(struct machine *machine, uint64_t bytes)
{
    int fd = memfd_create("floor-guest", MFD_CLOEXEC);
    if (fd < 0 || ftruncate(fd, (off_t)bytes) != 0)
        die("guest memory");
    machine->memory_bytes = bytes;
    machine->memory = map_shared(bytes, fd, 0, MAP_POPULATE, "guest memory");
    close(fd);
    uint64_t low = bytes < HOLE_START ? bytes : HOLE_START;
    machine->slots[0] = (struct slot){.first_gfn = 0, .pages = low / PAGE_BYTES, .host = machine->memory};
    machine->slots[1] = (struct slot){
        .first_gfn = HOLE_END / PAGE_BYTES, .pages = (bytes - low) / PAGE_BYTES, .host = machine->memory + low};
    machine->slot_count = bytes > low ? 2 : 1;
}

static void register_memory(const struct machine *machine, bool log_dirty)
{
    for (unsigned i = 0; i < machine->slot_count; i++) {
        const struct slot *slot = &machine->slots[i];
        struct kvm_userspace_memory_region region = {
            .slot = i,
            .flags = log_dirty ? KVM_MEM_LOG_DIRTY_PAGES : 0,
            .guest_phys_addr = slot->first_gfn * PAGE_BYTES,
            .memory_size = slot->pages * PAGE_BYTES,
            .userspace_addr = (uint64_t)slot->host,
        };
        checked_ioctl(machine->vm, KVM_SET_USER_MEMORY_REGION, &region, "KVM_SET_USER_MEMORY_REGION");
    }
}

static void put_word(struct machine *machine, uint64_t address, uint64_t value)
{
    memcpy(machine->memory + address, &value, sizeof(value));
}

/* One-to-one mapping of all memory in 2 MiB pages that CPL 3 may use. */
static void map_guest_memory(struct machine *machine)
{
    put_word(machine, PML4, PDPT | PRESENT_WRITE_USER);
    for (unsigned i = 0; i < machine->slot_count; i++) {
        uint64_t start = machine->slots[i].first_gfn * PAGE_BYTES;
        for (uint64_t address = start; address < start + machine->slots[i].pages * PAGE_BYTES; address += LARGE_PAGE) {
            uint64_t directory = DIRECTORIES + address / GIB * PAGE_BYTES;
            if (directory >= TABLES_END) {
                errno = E2BIG;
                die("guest page tables");
            }
            put_word(machine, PDPT + address / GIB * 8, directory | PRESENT_WRITE_USER);
            put_word(machine, directory + address % GIB / LARGE_PAGE * 8, address | LARGE | PRESENT_WRITE_USER);
        }
    }
}

static void load_image(struct machine *machine, const char *path)
{
    FILE *file = fopen(path, "rb");
    if (file == NULL)
        die(path);
    size_t length = fread(machine->memory + ENTRY, 1, 1UL << 20, file);
    if (length == 0 || ferror(file))
        die(path);
    fclose(file);
}

static void write_boot_block(struct machine *machine, const struct options *options)
{
    uint64_t boot[4 + 16] = {0x31544f4f42445446UL, machine->memory_bytes, options->vcpus, 0,
                             options->pages,       options->spin,         options->working_set};
    memcpy(machine->memory + BOOT_BLOCK, boot, sizeof(boot));
}

static void set_cpuid(const struct machine *machine, int vcpu)
{
    struct kvm_cpuid2 *cpuid = calloc(1, sizeof(*cpuid) + CPUID_ENTRIES * sizeof(cpuid->entries[0]));
    if (cpuid == NULL)
        die("memory for CPUID");
    cpuid->nent = CPUID_ENTRIES;
    checked_ioctl(machine->kvm, KVM_GET_SUPPORTED_CPUID, cpuid, "KVM_GET_SUPPORTED_CPUID");
    checked_ioctl(vcpu, KVM_SET_CPUID2, cpuid, "KVM_SET_CPUID2");
    free(cpuid);
}

static void set_registers(int vcpu, unsigned index)
{
    struct kvm_sregs sregs;
    checked_ioctl(vcpu, KVM_GET_SREGS, &sregs, "KVM_GET_SREGS");
    struct kvm_segment code = {
        .limit = 0xffffffff, .selector = 0x33, .type = 11, .present = 1, .dpl = 3, .s = 1, .l = 1, .g = 1};
    struct kvm_segment data = {
        .limit = 0xffffffff, .selector = 0x2b, .type = 3, .present = 1, .dpl = 3, .db = 1, .s = 1, .g = 1};
    sregs.cs = code;
    sregs.ds = sregs.es = sregs.fs = sregs.gs = sregs.ss = data;
    sregs.cr0 = 0x80000001; /* PE, PG */
    sregs.cr3 = PML4;
    sregs.cr4 = 0x620;  /* PAE, OSFXSR, OSXMMEXCPT */
    sregs.efer = 0x500; /* LME, LMA */
    checked_ioctl(vcpu, KVM_SET_SREGS, &sregs, "KVM_SET_SREGS");
    struct kvm_regs regs = {
        .rip = ENTRY,
        .rflags = 0x3002, /* IOPL 3 */
        .rdi = index,
        .rsi = BOOT_BLOCK,
        .rsp = STACKS_TOP - (uint64_t)index * STACK_BYTES,
    };
    checked_ioctl(vcpu, KVM_SET_REGS, &regs, "KVM_SET_REGS");
}

static void create_vcpu(struct machine *machine, unsigned index, const struct options *options)
{
    struct vcpu *vcpu = &machine->vcpus[index];
    vcpu->fd = checked_ioctl(machine->vm, KVM_CREATE_VCPU, (void *)(uintptr_t)index, "KVM_CREATE_VCPU");
    vcpu->run = map_shared(machine->run_bytes, vcpu->fd, 0, 0, "kvm_run");
    vcpu->run->kvm_valid_regs = KVM_SYNC_X86_REGS | KVM_SYNC_X86_SREGS | KVM_SYNC_X86_EVENTS;
    if (options->tracker == TRACKER_RING && !options->unprotected)
        vcpu->ring = map_shared(RING_ENTRIES * sizeof(*vcpu->ring), vcpu->fd,
                                KVM_DIRTY_LOG_PAGE_OFFSET * PAGE_BYTES, 0, "dirty ring");
    set_cpuid(machine, vcpu->fd);
    set_registers(vcpu->fd, index);
    if (machine->irqchip) {
        struct kvm_mp_state runnable = {.mp_state = KVM_MP_STATE_RUNNABLE};
        checked_ioctl(vcpu->fd, KVM_SET_MP_STATE, &runnable, "KVM_SET_MP_STATE");
    }
}

static void enable_tracking(const struct machine *machine, enum tracker tracker)
{
    struct kvm_enable_cap ring = {.cap = KVM_CAP_DIRTY_LOG_RING,
                                  .args = {RING_ENTRIES * sizeof(struct kvm_dirty_gfn)}};
    struct kvm_enable_cap manual = {.cap = KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2,
                                    .args = {KVM_DIRTY_LOG_MANUAL_PROTECT_ENABLE}};
    checked_ioctl(machine->vm, KVM_ENABLE_CAP, tracker == TRACKER_RING ? &ring : &manual, "KVM_ENABLE_CAP");
}

/* Some listed MSRs cannot be read on some hosts, and KVM_GET_MSRS stops at the first of them: ask one by one. */
static void list_msrs(struct machine *machine)
{
    struct kvm_msr_list *list = calloc(1, sizeof(*list) + MSRS_MAX * sizeof(list->indices[0]));
    struct kvm_msrs *msrs = calloc(1, sizeof(*msrs) + MSRS_MAX * sizeof(msrs->entries[0]));
    struct kvm_msrs *probe = calloc(1, sizeof(*probe) + sizeof(probe->entries[0]));
    if (list == NULL || msrs == NULL || probe == NULL)
        die("memory for MSRs");
    list->nmsrs = MSRS_MAX;
    checked_ioctl(machine->kvm, KVM_GET_MSR_INDEX_LIST, list, "KVM_GET_MSR_INDEX_LIST");
    for (uint32_t i = 0; i < list->nmsrs; i++) {
        probe->nmsrs = 1;
        probe->entries[0].index = list->indices[i];
        if (checked_ioctl(machine->vcpus[0].fd, KVM_GET_MSRS, probe, "KVM_GET_MSRS") == 1)
            msrs->entries[msrs->nmsrs++].index = list->indices[i];
    }
    machine->msr_template = msrs;
    machine->msrs_bytes = sizeof(*msrs) + msrs->nmsrs * sizeof(msrs->entries[0]);
    free(list);
    free(probe);
}

void machine_create(struct machine *machine, const struct options *options)
{
    machine->kvm = open("/dev/kvm", O_RDWR | O_CLOEXEC);
    if (machine->kvm < 0)
        die("/dev/kvm");
    machine->vm = checked_ioctl(machine->kvm, KVM_CREATE_VM, NULL, "KVM_CREATE_VM");
    machine->run_bytes = (size_t)checked_ioctl(machine->kvm, KVM_GET_VCPU_MMAP_SIZE, NULL, "KVM_GET_VCPU_MMAP_SIZE");
    int xsave = checked_ioctl(machine->vm, KVM_CHECK_EXTENSION, (void *)KVM_CAP_XSAVE2, "KVM_CAP_XSAVE2");
    machine->xsave_bytes = xsave != 0 ? (size_t)xsave : sizeof(struct kvm_xsave);
    machine->irqchip = options->irqchip;
    checked_ioctl(machine->vm, KVM_SET_TSS_ADDR, (void *)0xfffbd000UL, "KVM_SET_TSS_ADDR");
    if (!options->unprotected)
        enable_tracking(machine, options->tracker);
    create_memory(machine, options->memory_bytes);
    register_memory(machine, !options->unprotected);
    map_guest_memory(machine);
    load_image(machine, options->image);
    write_boot_block(machine, options);
    if (machine->irqchip) {
        struct kvm_pit_config pit = {0};
        checked_ioctl(machine->vm, KVM_CREATE_IRQCHIP, NULL, "KVM_CREATE_IRQCHIP");
        checked_ioctl(machine->vm, KVM_CREATE_PIT2, &pit, "KVM_CREATE_PIT2");
    }
    for (unsigned i = 0; i < options->vcpus; i++)
        create_vcpu(machine, i, options);
    machine->vcpu_count = options->vcpus;
    list_msrs(machine);
}

uint64_t machine_rounds(const struct machine *machine)
{
    const volatile uint64_t *counters = (const volatile uint64_t *)(machine->memory + COUNTERS);
    uint64_t rounds = 0;
    for (unsigned i = 0; i < machine->vcpu_count; i++)
        rounds += counters[8 * i];
    return rounds;
}
