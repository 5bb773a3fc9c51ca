/* SPDX-License-Identifier: GPL-2.0-only */
/* Lists of frames (entries of linux/kvm_mt.h): made, taken from KVM, compared. */
#ifndef MT_LIST_H
#define MT_LIST_H

#include "mt_api.h"
#include "mt_vm.h"

struct list {
	u64 *v;
	u32 n;
	u32 room;
};

void list_add(struct list *list, u64 entry);
/* Adds frames first, first + stride, ... of a region. */
void list_add_pages(struct list *list, const struct region *region, u64 first, u64 count, u64 stride);
void list_append(struct list *list, const struct list *other);
void list_shuffle(struct list *list, unsigned int seed);
/* A copy without the frames of system memory. */
struct list list_user(const struct list *list);
/* Ends the test unless got has every frame of want exactly once and no other; the order does not matter. */
void list_expect(const char *what, const struct list *got, const struct list *want);

/* Lets the vCPU write to every page of the list (address space 0) until it is done. */
void write_pages(struct vcpu *vcpu, const struct list *pages, u64 value);

/* Seals and fetches all, in the order of the list; nothing is re-armed. */
struct list seal(int mt, u32 flags, struct kvm_mt_prepare *prepare);
/* Seals, fetches and re-arms all; returns the frames that are no system memory. */
struct list harvest(int mt);
/* Creates a context with room for every frame of the VM and enables it. */
int track(struct vm *vm);

#endif
