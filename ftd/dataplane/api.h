/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What Python sees of the data plane. This file is read twice: by the C
 * compiler and, word for word, by cffi; so it holds plain declarations and no
 * preprocessor conditionals.
 *
 * Every function that can fail takes an ftd_error and returns -1 (or NULL)
 * with the errno and a sentence in it, or 0 (or a pointer) on success. None of
 * these functions is called from inside the checkpoint cycle; the calling
 * thread may block for as long as a vCPU needs to stop, unless said otherwise.
 */
typedef struct ftd_error {
	int code;		/* errno value */
	char text[248];		/* what was tried, on what; no newline */
} ftd_error;

/*
 * Counters live as long as their VM. They are written with relaxed atomics by
 * the native threads and may be read at any time without stopping anything;
 * each value is exact, two values need not be of one instant.
 * Histograms are log-linear: 32 steps per power of two, nanoseconds.
 */
typedef struct ftd_counters {
	uint64_t epochs_sealed, epochs_acked, epochs_received, epochs_committed;
	uint64_t pages, bytes;			/* shipped in epochs; frames with headers */
	uint64_t sync_pages, sync_bytes, sync_pending, sync_total, sync_round;
	uint64_t sync_throttle_ns;		/* guest held back so that the first sync converges */
	uint64_t stalls, stall_ns;		/* no free arena, or too many epochs unacknowledged */
	uint64_t parts;				/* dirty lists that needed more than one arena */
	uint64_t period_ns, period_asked_ns;	/* between checkpoints: now, longer where vCPUs starve; as configured */
	uint64_t threshold_exits;		/* epochs sealed early because a ring or list was full */
	uint64_t vcpu_kicks;			/* vCPUs that had to be stopped by another */
	uint64_t hot_pages, hot_shipped, hot_unchanged, hot_cooled;
	uint64_t output_bytes_produced, output_bytes_released, output_bytes_dropped;
	uint64_t input_bytes;
	uint64_t net_sent, net_sent_dropped, net_received, net_received_dropped;	/* frames */
	uint64_t disk_bytes_read, disk_bytes_written, disk_flushes, disk_errors;
	uint64_t disk_waits, disk_wait_ns;	/* requests that waited for a log or for room to mark pages */
	uint64_t disk_sync_total, disk_sync_bytes, disk_sync_pending;	/* bytes of the first synchronisation */
	uint64_t prefaulted_pages;		/* standby: mapped for the vCPUs before they run */
	uint64_t doubts;			/* times that gated output waited for a fresh echo */
	uint64_t echo_ns;			/* the last echo's way there and back */
	uint64_t heartbeats_sent, heartbeats_received;
	/*
	 * Sums over all epochs, in the order of a stop: from the first vCPU's exit until the last one's registers
	 * were read; which pages; which of them are sent; copying; re-arming; state of the machine.
	 */
	uint64_t gather_ns, harvest_ns, judge_ns, copy_ns, rearm_ns, capture_ns;
	uint64_t refused[32];			/* by refusal code, docs/PROTOCOL.md */
	uint64_t pause_hist[2048], ack_hist[2048], harvest_hist[2048];
} ftd_counters;

typedef struct ftd_event {
	uint32_t kind;			/* FTD_EVENT_* */
	uint32_t reason;		/* FTD_LOST_*, or a refusal code for FTD_LOST_REFUSED in detail */
	uint64_t epoch;
	int64_t detail;
} ftd_event;

enum {
	FTD_EVENT_SYNC_ROUND = 1, FTD_EVENT_FIRST_SEALED, FTD_EVENT_PROTECTED, FTD_EVENT_PEER_LOST,
	FTD_EVENT_LEAVE_ACKED, FTD_EVENT_DRAINED, FTD_EVENT_HANDED_OVER, FTD_EVENT_FIRST_COMPLETE,
	FTD_EVENT_LEAVE, FTD_EVENT_HANDOVER, FTD_EVENT_GUEST_STOPPED, FTD_EVENT_DISK_FAILED,
};
enum {
	FTD_LOST_CLOSED = 1,		/* the peer's end was closed */
	FTD_LOST_RESET,			/* reset or another socket error */
	FTD_LOST_SILENT,		/* no sign of life for the heartbeat timeout */
	FTD_LOST_REFUSED,		/* a frame was refused; detail is the refusal */
	FTD_LOST_OVERFLOW,		/* an epoch did not fit parts_max arenas */
	FTD_LOST_LOCAL,			/* a KVM call of our own failed; detail is errno */
	FTD_LOST_DISK_HERE,		/* our disk could not be read for the first synchronisation; detail is errno */
	FTD_LOST_DISK_THERE,		/* the standby's disk failed; detail is errno */
	FTD_LOST_SLOW,			/* echoes too old to begin protection; detail is their time in ns */
};
/* FTD_EVENT_GUEST_STOPPED: reason is the vCPU, detail a negative errno, KVM's exit reason, or one of these. */
enum {
	FTD_STOP_POWER_OFF = 1000,	/* the guest switched itself off */
	FTD_STOP_RESET,			/* the guest asked for a reboot */
	FTD_STOP_SYSTEM = 1100,		/* and KVM_SYSTEM_EVENT_* on top */
};
enum { FTD_TRACKER_RING = 1, FTD_TRACKER_BITMAP = 2, FTD_TRACKER_MT = 3 };

/* ---- the machine ---- */
typedef struct ftd_vm ftd_vm;
typedef struct ftd_vm_config {
	uint64_t memory_bytes;		/* multiple of 2 MiB */
	uint32_t vcpus;			/* 1 to 8 */
	uint32_t irqchip;		/* 0: none; 1: PIC, IOAPIC, LAPIC, PIT in the kernel */
	uint32_t tracker;		/* FTD_TRACKER_* */
	uint32_t epoch_pages_max;	/* ring size follows from it */
	uint16_t mtu;			/* of the network device; 0: the machine has none */
	unsigned char mac[6];
	uint64_t disk_bytes;		/* 0: no disk; else a multiple of 512 */
	int disk_fd;			/* image or block device, open for both; owned by the machine from here on */
	char disk_id[20];		/* what the guest is told, padded with zeros */
} ftd_vm_config;

ftd_vm *ftd_vm_create(const ftd_vm_config *config, ftd_error *error);
void ftd_vm_destroy(ftd_vm *vm);	/* kills it first if it runs */
void *ftd_vm_memory(ftd_vm *vm);
int ftd_vm_memory_fd(ftd_vm *vm);
/* What of the host a checkpoint of this machine depends on; the guest's own TSC frequency. Before ftd_vm_run. */
typedef struct ftd_cpuid_entry {
	uint32_t leaf, subleaf, eax, ebx, ecx, edx;
} ftd_cpuid_entry;
typedef struct ftd_processor {
	uint32_t xsave_bytes, tsc_khz, scales_tsc;
	uint32_t msr_count, msrs[128];
	uint32_t cpuid_count;
	ftd_cpuid_entry cpuid[256];	/* as vCPU 0 sees it */
} ftd_processor;
int ftd_vm_processor(ftd_vm *vm, ftd_processor *processor, ftd_error *error);
uint32_t ftd_vm_tsc_khz(ftd_vm *vm);	/* the guest's, which may have begun on another host; 0: unknown */
int ftd_vm_reserve(ftd_vm *vm, ftd_error *error);	/* allocates all memory now; about a second for 1 to 4 GiB */
/* Long mode at CPL 3, flat; docs/MICROVM.md. Before ftd_vm_run only. */
int ftd_vm_boot_vcpu(ftd_vm *vm, uint32_t index, uint64_t rip, uint64_t rsp, uint64_t rdi, uint64_t rsi,
		     uint64_t cr3, ftd_error *error);
/*
 * Linux on vCPU 0, 64-bit mode at CPL 0 with these page and descriptor tables, rsi = zero_page; the other vCPUs wait
 * for its SIPI. Needs irqchip.
 */
int ftd_vm_boot_linux(ftd_vm *vm, uint64_t rip, uint64_t zero_page, uint64_t cr3, uint64_t gdt, uint32_t gdt_bytes,
		      ftd_error *error);
/* Interrupt line of the virtio device in window `index`; 0: there is none; -1: past the last window. */
int ftd_vm_virtio_irq(ftd_vm *vm, uint32_t index);
const char *ftd_vm_section_name(ftd_vm *vm, uint32_t index);	/* in order of restoring; NULL past the last */
int ftd_vm_restore_section(ftd_vm *vm, const char *name, const void *data, uint64_t length, ftd_error *error);
int ftd_vm_run(ftd_vm *vm, ftd_error *error);
int ftd_vm_pause(ftd_vm *vm, ftd_error *error);
int ftd_vm_resume(ftd_vm *vm, ftd_error *error);
void ftd_vm_kill(ftd_vm *vm);		/* for ever: no guest instruction and no output after it returns */
/* Takes over a listening, non-blocking stream socket (Unix or TCP); one client at a time. Runs only. */
int ftd_vm_console_listen(ftd_vm *vm, int fd, ftd_error *error);
/* The same for the serial port; what its client does not take at once is lost, as on a wire. */
int ftd_vm_serial_listen(ftd_vm *vm, int fd, ftd_error *error);
/* Takes over a file descriptor that gets what the guest sends on its serial port, once it may leave. */
int ftd_vm_serial_sink(ftd_vm *vm, int fd, ftd_error *error);
/*
 * Takes over a tap, without packet information or virtio header. What waits in it
 * is dropped. Before ftd_vm_run only.
 */
int ftd_vm_net_attach(ftd_vm *vm, int fd, ftd_error *error);
/* One Ethernet frame, as if the guest had sent it: it passes the output gate in its turn. Runs only. */
int ftd_vm_net_send(ftd_vm *vm, const void *frame, uint32_t length, ftd_error *error);
/* The guest's own addresses as far as they are known, zeroes for the rest: 4 of 4 bytes, 8 of 16 bytes. */
void ftd_vm_net_addresses(ftd_vm *vm, unsigned char *ipv4, unsigned char *ipv6);
/*
 * Disk, before a pair is made with a standby that may have some of it already (docs/DISK.md). From here on what the
 * guest writes is noted, in a map of blocks of 64 KiB, anew with each call.
 */
int ftd_vm_disk_watch(ftd_vm *vm, ftd_error *error);
/* More blocks that the standby has otherwise: `count` words of bits, of the map's words from `first` on. */
int ftd_vm_disk_differs(ftd_vm *vm, uint64_t first, const uint64_t *words, uint64_t count, ftd_error *error);
/* For a map that no pair has taken over: ftd_primary_start sends what is in it, and all of the disk without one. */
void ftd_vm_disk_unwatch(ftd_vm *vm);
ftd_counters *ftd_vm_counters(ftd_vm *vm);
int ftd_vm_event_fd(ftd_vm *vm);	/* readable while events wait */
int ftd_vm_next_event(ftd_vm *vm, ftd_event *event);	/* 1: one was taken, 0: none */

/* ---- active side of a pair ---- */
typedef struct ftd_primary ftd_primary;
typedef struct ftd_link_config {
	unsigned char vm_id[16];
	uint64_t generation;
	uint32_t pair;			/* stands in every frame; 0 in the handshake's only */
	int data_fd, heartbeat_fd;	/* connected, handshake done; owned by the data plane from here on */
	uint32_t heartbeat_interval_ms, heartbeat_timeout_ms;
	uint32_t watchdog_ms;		/* active side: output waits while the newest echo is older */
	uint32_t epoch_pages_max, parts_max;
	uint32_t epoch_disk_bytes;	/* most of one epoch's log of the disk; 0 without a disk */
} ftd_link_config;
typedef struct ftd_cycle_config {
	uint32_t period_ns;		/* between checkpoints; 0: only by hand (steps below) */
	uint32_t epochs_in_flight;	/* sealed and not acknowledged, 1 to 16 */
	uint32_t hot_pages_max;		/* 0: no hot set */
	uint32_t run_min_ns;		/* guest time guaranteed between two checkpoints */
} ftd_cycle_config;

/* Allocates all that the cycle needs and starts the first synchronisation. */
ftd_primary *ftd_primary_start(ftd_vm *vm, const ftd_link_config *link, const ftd_cycle_config *cycle,
			       ftd_error *error);
int ftd_primary_leave(ftd_primary *primary, ftd_error *error);		/* -> LEAVE_ACKED */
int ftd_primary_drain(ftd_primary *primary, ftd_error *error);		/* stops the guest -> DRAINED */
int ftd_primary_handover(ftd_primary *primary, ftd_error *error);	/* after DRAINED -> HANDED_OVER */
uint64_t ftd_primary_acked(ftd_primary *primary);
/*
 * Ends the pair and frees it: the guest is unprotected after it. Held output is
 * released, or stays held for good; a stopped guest runs on, or stays stopped.
 */
void ftd_primary_end(ftd_primary *primary, int release_output, int resume_guest);

/*
 * The steps of the cycle, for a guest that someone else has stopped (period_ns
 * = 0). A guest of ours whose dirty ring or list fills up between two checkpoints stops
 * by itself until it is resumed. Devices of ours must be quiet from harvest to
 * seal: it is the caller who captures state.
 */
int ftd_primary_harvest(ftd_primary *primary, uint64_t *gfns, uint32_t gfns_max, uint32_t *count, ftd_error *error);
int ftd_primary_copy(ftd_primary *primary, ftd_error *error);
int ftd_primary_seal(ftd_primary *primary, const void *state, uint32_t state_len, uint64_t *epoch, ftd_error *error);

/* ---- standby side of a pair ---- */
typedef struct ftd_standby ftd_standby;
ftd_standby *ftd_standby_start(ftd_vm *vm, const ftd_link_config *link, ftd_error *error);
/*
 * No acknowledgement and no heartbeat after this returns; whole epochs that the
 * socket still held have been committed.
 */
void ftd_standby_stop(ftd_standby *standby);
uint64_t ftd_standby_epoch(ftd_standby *standby);	/* newest committed; 0: none */
const void *ftd_standby_state(ftd_standby *standby, uint64_t *length);	/* after stop */
int ftd_standby_answer(ftd_standby *standby, uint32_t type);	/* LEAVE_ACK or HANDOVER_DONE; best effort */
void ftd_standby_close(ftd_standby *standby);	/* the peer sees its end closed */
/* After stop: returns when the primary can let no output go any more; takes the heartbeat timeout at most. */
void ftd_standby_outwait(ftd_standby *standby);
void ftd_standby_free(ftd_standby *standby);	/* gives back staging memory: takes milliseconds */

/* ---- tests and diagnosis ---- */
int ftd_fault_arm(const char *point, uint64_t nth);	/* SIGKILL to ourselves at the nth passage; -1: unknown */
const char *ftd_fault_name(uint32_t index);		/* NULL past the last */
void ftd_fault_corrupt(void);	/* one byte of the next epoch's body is sent flipped: its receiver must refuse it */
uint32_t ftd_crc32c(uint32_t crc, const void *data, uint64_t length);
typedef struct ftd_frame_context {
	unsigned char vm_id[16];
	uint64_t generation, memory_bytes, disk_bytes, epoch_last, epoch_sent;
	uint32_t parts_received, epoch_pages_max, parts_max, state_max, extra_max, allowed;	/* allowed: bit per frame type */
	uint32_t pair;
} ftd_frame_context;
int ftd_frame_check(const void *frame, uint64_t length, const ftd_frame_context *context);	/* refusal, 0: good */
int ftd_kvm_check(const char *path, uint32_t *trackers, ftd_error *error);	/* bit per FTD_TRACKER_* */
