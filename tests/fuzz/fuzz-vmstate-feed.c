/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Hostile device state in pieces. The first byte chooses: a table of every shape, loaded whole and in pieces, which must
 * come to the same; or sections fed as a worker feeds them. The second byte is the size of the pieces.
 */
/* LIBS: migd_guest migd_base */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>

#include "base/cleanup.h"
#include "guest/state.h"
#include "guest/vmstate-load.h"
#include "guest/x86/arch.h"

struct item {
	uint8_t n;
	uint16_t words[4];
	STAILQ_ENTRY(item) link;
};

STAILQ_HEAD(items, item);

/* Linked both ways: by pointers to elements, and as TAILQ does. */
struct knot {
	uint8_t n;
	struct knot *next, *prev;
	TAILQ_ENTRY(knot) link;
};

struct chain {
	struct knot *first, *last;
};

TAILQ_HEAD(knots, knot);

struct point {
	uint16_t x, y;
};

struct shapes {
	int32_t same, at_most;
	double d;
	uint64_t timer;
	int32_t n;
	uint8_t n8;
	uint16_t pairs[6];
	uint8_t inlined[4];
	uint8_t *blob;
	uint64_t bits[2];
	uint64_t *more_bits;
	struct point *some[3];
	struct point old;
	struct items queue;
	uint32_t extra;
	struct chain chain;
	struct knots knots;
	/* What is pointed to. */
	uint8_t blob_bytes[9];
	uint64_t bit_words[2];
	struct point point;
};

static const struct migd_vmstate point_vmstate = {
	.name = "point", .version = 2, .minimum_version = 1,
	.fields = (const struct migd_vmstate_field[]){
		MIGD_VMS_FIELD_U16(struct point, x), MIGD_VMS_FIELD_SINCE(U16, struct point, y, 2), MIGD_VMS_FIELD_END },
};

static const struct migd_vmstate item_vmstate = {
	.name = "item", .version = 1,
	.fields = (const struct migd_vmstate_field[]){
		MIGD_VMS_FIELD_U8(struct item, n), MIGD_VMS_FIELD_VARRAY(U16, struct item, words, 4, U8, n), MIGD_VMS_FIELD_END },
};

static const struct migd_vmstate_queue items_queue =
	MIGD_VMS_QUEUE_SINGLE(struct items, stqh_first, struct item, link.stqe_next, NULL);

static bool has_extra(void *opaque)
{
	return ((struct shapes *)opaque)->extra != 0;
}

static const struct migd_vmstate extra_vmstate = {
	.name = "shapes/extra", .version = 1, .needed = has_extra,
	.fields = (const struct migd_vmstate_field[]){ MIGD_VMS_FIELD_U32(struct shapes, extra), MIGD_VMS_FIELD_END },
};

/* On the wire a sum is in two halves. */
struct halves {
	struct shapes *parent;
	uint16_t high, low;
};

static int halves_save(void *opaque, struct migd_vmstate_error *err)
{
	struct halves *h = opaque;

	(void)err;
	h->high = (uint16_t)(h->parent->extra >> 16);
	h->low = (uint16_t)h->parent->extra;
	return 0;
}

static int halves_load(void *opaque, uint32_t version, struct migd_vmstate_error *err)
{
	struct halves *h = opaque;

	(void)version;
	(void)err;
	h->parent->extra = (uint32_t)h->high << 16 | h->low;
	return 0;
}

static const struct migd_vmstate halves_vmstate = {
	.name = "halves", .version = 1, .pre_save = halves_save, .post_load = halves_load,
	.fields = (const struct migd_vmstate_field[]){
		MIGD_VMS_FIELD_U16(struct halves, high), MIGD_VMS_FIELD_U16(struct halves, low), MIGD_VMS_FIELD_END },
};

static const struct migd_vmstate knot_vmstate = {
	.name = "knot", .version = 1,
	.fields = (const struct migd_vmstate_field[]){ MIGD_VMS_FIELD_U8(struct knot, n), MIGD_VMS_FIELD_END },
};

static const struct migd_vmstate_queue chain_queue =
	MIGD_VMS_QUEUE_DOUBLE(struct chain, first, last, struct knot, next, prev, NULL);
static const struct migd_vmstate_queue knots_queue =
	MIGD_VMS_QUEUE_TAILQ(struct knots, tqh_first, tqh_last, struct knot, link.tqe_next, link.tqe_prev, NULL);

static bool has_chain(void *opaque)
{
	return ((struct shapes *)opaque)->chain.first != NULL;
}

static const struct migd_vmstate chain_vmstate = {
	.name = "shapes/chain", .version = 1, .needed = has_chain,
	.fields = (const struct migd_vmstate_field[]){
		MIGD_VMS_FIELD_QUEUE(struct shapes, chain, struct chain, &chain_queue, 3, &knot_vmstate),
		MIGD_VMS_FIELD_QUEUE(struct shapes, knots, struct knots, &knots_queue, 3, &knot_vmstate),
		MIGD_VMS_FIELD_TMP(struct shapes, struct halves, &halves_vmstate),
		MIGD_VMS_FIELD_END },
};

static bool few(void *opaque, uint32_t version)
{
	(void)version;
	return ((struct shapes *)opaque)->n < 3;
}

static const struct migd_vmstate shapes_vmstate = {
	.name = "shapes", .version = 2, .minimum_version = 1,
	.fields = (const struct migd_vmstate_field[]){
		MIGD_VMS_FIELD(S32_EQUAL, struct shapes, same),
		MIGD_VMS_FIELD(S32_LE, struct shapes, at_most),
		MIGD_VMS_FIELD(DOUBLE, struct shapes, d),
		MIGD_VMS_FIELD_SINCE(TIMER, struct shapes, timer, 2),
		MIGD_VMS_FIELD_S32(struct shapes, n),
		MIGD_VMS_FIELD_VALIDATE("n is small", few),
		MIGD_VMS_FIELD_U8(struct shapes, n8),
		MIGD_VMS_FIELD_VARRAY_TIMES(U16, struct shapes, pairs, 6, U8, n8, 2),
		MIGD_VMS_FIELD_VBUFFER(struct shapes, inlined, S32, n),
		MIGD_VMS_FIELD_PTR_VBUFFER_TIMES(struct shapes, blob, 9, U8, n8, 3),
		MIGD_VMS_FIELD_BITMAP(struct shapes, bits, 70),
		MIGD_VMS_FIELD_PTR_BITMAP(struct shapes, more_bits, 128, U8, n8),
		MIGD_VMS_FIELD_STRUCT_PTRS(struct shapes, some, struct point, 3, &point_vmstate),
		MIGD_VMS_FIELD_VSTRUCT(struct shapes, old, struct point, &point_vmstate, 1),
		MIGD_VMS_FIELD_QUEUE(struct shapes, queue, struct items, &items_queue, 3, &item_vmstate),
		MIGD_VMS_FIELD_UNUSED(2),
		MIGD_VMS_FIELD_END },
	.subsections = (const struct migd_vmstate *const[]){ &extra_vmstate, &chain_vmstate, NULL },
};

static void shapes_init(struct shapes *s)
{
	*s = (struct shapes){ .same = -2, .at_most = 9 };
	s->blob = s->blob_bytes;
	s->more_bits = s->bit_words;
	s->some[1] = &s->point;
	TAILQ_INIT(&s->knots);
}

static void shapes_done(struct shapes *s)
{
	struct knot *k;
	struct item *i;

	while ((k = s->chain.first)) {
		s->chain.first = k->next;
		free(k);
	}
	while ((k = TAILQ_FIRST(&s->knots))) {
		TAILQ_REMOVE(&s->knots, k, link);
		free(k);
	}
	while ((i = s->queue.stqh_first)) {
		s->queue.stqh_first = i->link.stqe_next;
		free(i);
	}
}

/* As much of DATA as CALL, which loads from a struct rcur, takes; a copy, so that a byte read behind the piece is seen. */
static int load_in_pieces(struct shapes *s, const uint8_t *data, size_t len, size_t step, size_t *ret_taken)
{
	size_t taken = 0, have = 0;
	struct vms_loader l;
	int r;

	vms_loader_begin(&l, &shapes_vmstate, s, 2, 0);
	do {
		struct rcur in;
		uint8_t *copy;

		have = min_u64(len, have + step);
		copy = malloc(have - taken + 1);
		memcpy(copy, data + taken, have - taken);
		in = rcur_of(copy, have - taken);
		r = vms_loader_feed(&l, &in, have == len, NULL);
		taken = have - in.left;
		free(copy);
		if (r == -EAGAIN && (l.needs <= in.left || l.needs > VMS_LOOKAHEAD_MAX))
			abort();
	} while (r == -EAGAIN);
	vms_loader_done(&l);
	*ret_taken = taken;
	return r;
}

static void whole_or_in_pieces(const uint8_t *data, size_t len, size_t step)
{
	struct rcur in = rcur_of(data, len);
	struct buf one = { 0 }, other = { 0 }, json = { 0 };
	struct shapes a, b;
	size_t taken;
	int r;

	shapes_init(&a);
	shapes_init(&b);
	r = vmstate_load(&shapes_vmstate, &a, 2, &in, data, NULL);
	if (load_in_pieces(&b, data, len, step, &taken) != r || (r == 0 && taken != len - in.left))
		abort();
	if (r == 0) {
		if (vmstate_save(&shapes_vmstate, &a, &one, &json, NULL) < 0 ||
		    vmstate_save(&shapes_vmstate, &b, &other, NULL, NULL) < 0)
			abort();
		if (one.len != other.len || memcmp(one.data, other.data, one.len) != 0)
			abort();
	}
	shapes_done(&a);
	shapes_done(&b);
	buf_done(&one);
	buf_done(&other);
	buf_done(&json);
}

static int lump_save(void *opaque, struct migd_guest_writer *w, struct migd_vmstate_error *err)
{
	(void)opaque;
	(void)w;
	(void)err;
	return 0;
}

static int lump_load(void *opaque, struct migd_guest_reader *r, uint32_t version, struct migd_vmstate_error *err)
{
	uint64_t n;
	int c = migd_guest_read_be(r, &n, 2);

	(void)version;
	if (c == 0 && n > 600)
		return migd_vmstate_fail(err, -EINVAL, "%u bytes", (unsigned int)n);
	return c < 0 ? c : migd_guest_read(r, opaque, n);
}

/* A header as it is in the stream; false: there is none. */
static bool next_section(struct rcur *in, char name[256], uint32_t *ret_instance, uint32_t *ret_version)
{
	uint8_t len = rcur_u8(in);
	const uint8_t *p = rcur_bytes(in, len);

	*ret_instance = rcur_be32(in);
	*ret_version = rcur_be32(in);
	if (in->bad)
		return false;
	memcpy(name, p, len);
	name[len] = '\0';
	return true;
}

static int feed_section(struct state_feed *f, struct rcur *in, size_t step)
{
	size_t have = 0, needs = 0;
	int r = -EAGAIN;

	while (r == -EAGAIN) {
		struct rcur piece;

		have = min_u64(in->left, max_u64(have + step, needs));
		if (have < needs)
			return -EPIPE;
		piece = rcur_of(in->p, have);
		r = state_feed_bytes(f, &piece, &needs, NULL);
		(void)rcur_bytes(in, have - piece.left);
		have = piece.left;
		if (r == -EAGAIN && (needs <= have || needs > VMS_LOOKAHEAD_MAX))
			abort();
	}
	return r;
}

static void sections(const uint8_t *data, size_t len, size_t step)
{
	static const struct migd_guest_device_ops ops = { .version = 2, .save = lump_save, .load = lump_load };
	static const struct migd_vmstate lump_desc = { .version = 2 };
	static struct guest_tables t;
	static struct arch_state a;
	struct rcur in = rcur_of(data, len);
	struct state_feed *f = NULL;
	uint32_t instance, version;
	size_t needs = 0;
	uint8_t lump[600];
	struct shapes s;
	struct guest_device devices[] = {
		{ .name = "shapes", .desc = &shapes_vmstate, .opaque = &s,
		  .alias = { .is_set = true, .name = "old", .instance = 5, .version = 1 } },
		{ .name = "lump", .desc = &lump_desc, .ops = (struct migd_guest_device_ops *)(uintptr_t)&ops, .opaque = lump },
	};
	char name[256];
	int r = 0;

	shapes_init(&s);
	t.devices = devices;
	t.n_devices = ARRAY_SIZE(devices);
	if (state_feed_new(&a, &t, &f, NULL) < 0)
		abort();
	while (r == 0 && next_section(&in, name, &instance, &version)) {
		r = state_feed_begin(f, name, instance, version, 0, NULL);
		if (r == 0)
			r = feed_section(f, &in, step);
	}
	/* However it went, nothing more belongs to a section that is over, and none begins within another. */
	if ((r == 0 && state_feed_bytes(f, &(struct rcur){ 0 }, &needs, NULL) == 0) || state_feed_begin(f, "none", 0, 1, 0, NULL) == 0)
		abort();
	(void)state_feed_end(f, len & 1, NULL);
	f = state_feed_free(f);
	shapes_done(&s);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	uint8_t *copy;

	if (len < 2)
		return 0;
	copy = malloc(len - 2 ? len - 2 : 1);
	memcpy(copy, data + 2, len - 2);
	if (data[0] & 1)
		sections(copy, len - 2, 1U + data[1]);
	else
		whole_or_in_pieces(copy, len - 2, 1U + data[1]);
	free(copy);
	return 0;
}
