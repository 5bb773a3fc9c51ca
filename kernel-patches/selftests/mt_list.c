// SPDX-License-Identifier: GPL-2.0-only
#include <stdlib.h>

#include "mt_list.h"

void list_add(struct list *list, u64 entry)
{
	if (list->n == list->room) {
		list->room = list->room ? 2 * list->room : 256;
		list->v = realloc(list->v, list->room * sizeof(u64));
		CHECK(list->v, "no memory for a list of %u", list->room);
	}
	list->v[list->n++] = entry;
}

void list_add_pages(struct list *list, const struct region *region, u64 first, u64 count, u64 stride)
{
	for (u64 i = 0; i < count; i++)
		list_add(list, KVM_MT_ENTRY_MAKE(region->slot >> 16, GFN(region->gpa) + first + i * stride));
}

void list_append(struct list *list, const struct list *other)
{
	for (u32 i = 0; i < other->n; i++)
		list_add(list, other->v[i]);
}

void list_shuffle(struct list *list, unsigned int seed)
{
	for (u32 i = list->n; i > 1; i--) {
		u32 j = rand_r(&seed) % i;
		u64 swap = list->v[i - 1];

		list->v[i - 1] = list->v[j];
		list->v[j] = swap;
	}
}

struct list list_user(const struct list *list)
{
	struct list user = { 0 };

	for (u32 i = 0; i < list->n; i++)
		if (!system_frame(list->v[i]))
			list_add(&user, list->v[i]);
	return user;
}

static int compare(const void *left, const void *right)
{
	u64 a = *(const u64 *)left, b = *(const u64 *)right;

	return (a > b) - (a < b);
}

static struct list sorted(const struct list *list)
{
	struct list copy = { 0 };

	list_append(&copy, list);
	if (copy.n)
		qsort(copy.v, copy.n, sizeof(u64), compare);
	return copy;
}

void list_expect(const char *what, const struct list *got, const struct list *want)
{
	struct list g = sorted(got), w = sorted(want);
	u32 missing = 0, extra = 0, twice = 0, i = 0, j = 0;
	u64 example = 0;

	while (i < g.n || j < w.n) {
		if (i && i < g.n && g.v[i] == g.v[i - 1]) {
			twice++;
			example = g.v[i++];
		} else if (j == w.n || (i < g.n && g.v[i] < w.v[j])) {
			extra++;
			example = g.v[i++];
		} else if (i == g.n || g.v[i] > w.v[j]) {
			missing++;
			example = w.v[j++];
		} else {
			i++;
			j++;
		}
	}
	CHECK(!missing && !extra && !twice,
	      "%s: of %u frames %u are missing, %u are reported twice, %u not expected (such as %#llx)",
	      what, w.n, missing, twice, extra, (unsigned long long)example);
	free(g.v);
	free(w.v);
}

void write_pages(struct vcpu *vcpu, const struct list *pages, u64 value)
{
	u64 *addresses = calloc(pages->n, sizeof(u64));

	CHECK(addresses, "no memory for %u addresses", pages->n);
	for (u32 i = 0; i < pages->n; i++)
		addresses[i] = KVM_MT_ENTRY_GFN(pages->v[i]) * PAGE + 8 * vcpu->index;
	vcpu_write_list(vcpu, addresses, pages->n, value);
	free(addresses);
	vcpu_finish(vcpu);
}

struct list seal(int mt, u32 flags, struct kvm_mt_prepare *prepare)
{
	struct list list = { 0 };

	list.n = list.room = CHECK_OK(mt_prepare(mt, flags, prepare));
	if (!list.n)
		return list;
	list.v = calloc(list.n, sizeof(u64));
	CHECK(list.v, "no memory for a list of %u", list.n);
	CHECK_EQ(mt_fetch(mt, prepare->epoch, 0, list.v, list.n), list.n, "entries fetched");
	return list;
}

struct list harvest(int mt)
{
	struct kvm_mt_prepare prepare;
	struct list all = seal(mt, 0, &prepare), user;

	CHECK_EQ(prepare.status, 0, "status of the sealed list");
	CHECK_EQ(mt_rearm(mt, prepare.epoch, 0, all.n), all.n, "frames re-armed");
	user = list_user(&all);
	free(all.v);
	return user;
}

int track(struct vm *vm)
{
	u64 frames = 0;
	int mt;

	for (unsigned int i = 0; i < vm->region_count; i++)
		frames += vm->regions[i].pages;
	mt = CHECK_OK(mt_create(vm->fd, (frames + 511) & ~511ull));
	CHECK_OK(mt_enable(mt));
	return mt;
}
