/* SPDX-License-Identifier: Apache-2.0 */
/* Linked lists of every layout: their bytes (WIRE.md 2.1), their links after a load, their bounds. */
/* LIBS: migd_guest migd_base */
/* LABELS: quick */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>
#include <cmocka.h>

#include "base/cleanup.h"
#include "guest/vmstate.h"

struct request {
	uint16_t id;
	TAILQ_ENTRY(request) tail;
	LIST_ENTRY(request) list;
	SLIST_ENTRY(request) single;
	struct request *next, *prev;
};

TAILQ_HEAD(tail_head, request);
LIST_HEAD(list_head, request);
SLIST_HEAD(single_head, request);
struct double_head {
	struct request *first, *last;
};

struct dev {
	struct tail_head tail;
	struct list_head list;
	struct single_head single;
	struct double_head twofold;
	unsigned int allocated;
	unsigned int may_allocate;
};

static void *dev_alloc(void *opaque)
{
	struct dev *d = opaque;

	return d->allocated++ < d->may_allocate ? calloc(1, sizeof(struct request)) : NULL;
}

static const struct migd_vmstate_queue tail_queue =
	MIGD_VMS_QUEUE_TAILQ(struct tail_head, tqh_first, tqh_last, struct request, tail.tqe_next, tail.tqe_prev, dev_alloc);
static const struct migd_vmstate_queue list_queue =
	MIGD_VMS_QUEUE_LIST(struct list_head, lh_first, struct request, list.le_next, list.le_prev, NULL);
static const struct migd_vmstate_queue single_queue =
	MIGD_VMS_QUEUE_SINGLE(struct single_head, slh_first, struct request, single.sle_next, NULL);
static const struct migd_vmstate_queue double_queue =
	MIGD_VMS_QUEUE_DOUBLE(struct double_head, first, last, struct request, next, prev, NULL);

static const struct migd_vmstate request_vmstate = {
	.name = "request", .version = 1,
	.fields = (const struct migd_vmstate_field[]){ MIGD_VMS_FIELD_U16(struct request, id), MIGD_VMS_FIELD_END },
};

static const struct migd_vmstate dev_vmstate = {
	.name = "dev", .version = 1,
	.fields = (const struct migd_vmstate_field[]){
		MIGD_VMS_FIELD_QUEUE(struct dev, tail, struct tail_head, &tail_queue, 3, &request_vmstate),
		MIGD_VMS_FIELD_QUEUE(struct dev, list, struct list_head, &list_queue, 3, &request_vmstate),
		MIGD_VMS_FIELD_QUEUE(struct dev, single, struct single_head, &single_queue, 3, &request_vmstate),
		MIGD_VMS_FIELD_QUEUE(struct dev, twofold, struct double_head, &double_queue, 3, &request_vmstate),
		MIGD_VMS_FIELD_END },
};

static const uint8_t bytes[] = {
	1, 0, 1, 1, 0, 2, 1, 0, 3, 0,
	1, 0, 4, 1, 0, 5, 0,
	1, 0, 6, 0,
	1, 0, 7, 1, 0, 8, 0,
};

static struct dev *dev_new(unsigned int may_allocate)
{
	struct dev *d = calloc(1, sizeof(*d));

	TAILQ_INIT(&d->tail);
	d->may_allocate = may_allocate;
	return d;
}

/* By the macros that the lists are made for: broken links would not let them. */
static void dev_free(struct dev *d)
{
	struct request *r;

	while ((r = TAILQ_LAST(&d->tail, tail_head))) {
		TAILQ_REMOVE(&d->tail, r, tail);
		free(r);
	}
	while ((r = LIST_FIRST(&d->list))) {
		LIST_REMOVE(r, list);
		free(r);
	}
	while ((r = SLIST_FIRST(&d->single))) {
		SLIST_REMOVE_HEAD(&d->single, single);
		free(r);
	}
	while ((r = d->twofold.last)) {
		d->twofold.last = r->prev;
		free(r);
	}
	free(d);
}

static void a_queue_is_marks_and_elements(void **state)
{
	struct buf out = { 0 }, json = { 0 };
	struct dev *d = dev_new(9);
	struct rcur in = rcur_of(bytes, sizeof(bytes));
	struct merr err = MERR_INIT;

	(void)state;
	assert_int_equal(vmstate_check(&dev_vmstate, &err), 0);
	assert_int_equal(vmstate_load(&dev_vmstate, d, 1, &in, bytes, &err), 0);
	assert_int_equal(in.left, 0);
	assert_int_equal(d->allocated, 3);
	assert_int_equal(TAILQ_FIRST(&d->tail)->id, 1);
	assert_int_equal(TAILQ_LAST(&d->tail, tail_head)->id, 3);
	assert_int_equal(LIST_NEXT(LIST_FIRST(&d->list), list)->id, 5);
	assert_int_equal(SLIST_FIRST(&d->single)->id, 6);
	assert_int_equal(d->twofold.last->id, 8);
	assert_int_equal(d->twofold.last->prev->id, 7);
	assert_int_equal(vmstate_save(&dev_vmstate, d, &out, &json, &err), 0);
	assert_int_equal(out.len, sizeof(bytes));
	assert_memory_equal(out.data, bytes, sizeof(bytes));
	buf_u8(&json, 0);
	assert_string_equal((char *)json.data,
		"\"vmsd_name\": \"dev\", \"version\": 1, \"fields\": [{\"name\": \"tail\", \"type\": \"qtailq\", \"size\": 10}, "
		"{\"name\": \"list\", \"type\": \"qlist\", \"size\": 7}, {\"name\": \"single\", \"type\": \"qlist\", \"size\": 4}, "
		"{\"name\": \"twofold\", \"type\": \"qtailq\", \"size\": 7}]");
	buf_done(&out);
	buf_done(&json);
	dev_free(d);
}

static void what_a_queue_refuses(void **state)
{
	static const struct {
		uint8_t bytes[16];
		size_t len;
		unsigned int may_allocate;
		int code;
		const char *text;
	} bad[] = {
		{ { 1, 0, 1, 1, 0, 2, 1, 0, 3, 1, 0, 4 }, 12, 9, -EPROTO,
		  "offset 9: field 'tail[3]': more elements than the description's bound" },
		{ { 1, 0, 1, 2 }, 4, 9, -EPROTO, "offset 3: field 'tail[1]': 0x02 where an element (1) or the end (0) must come" },
		{ { 1, 0, 1, 1, 0, 2 }, 6, 1, -ENOMEM, "offset 4: field 'tail[1]': no memory for another element" },
		{ { 1, 0, 1, 1, 0 }, 5, 9, -EPROTO,
		  "offset 4: field 'tail[1].id': the data ends here: 2 bytes are needed, 1 are left" },
		{ { 1, 0, 1 }, 3, 9, -EPROTO, "offset 3: field 'tail[1]': the data ends here: 1 bytes are needed, 0 are left" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		struct rcur in = rcur_of(bad[i].bytes, bad[i].len);
		struct dev *d = dev_new(bad[i].may_allocate);
		struct merr err = MERR_INIT;

		assert_int_equal(vmstate_load(&dev_vmstate, d, 1, &in, bad[i].bytes, &err), bad[i].code);
		assert_string_equal(err.msg, bad[i].text);
		dev_free(d);	/* half loaded, but whole */
	}
}

static void a_queue_must_be_empty_before_a_load(void **state)
{
	struct rcur in = rcur_of(bytes, sizeof(bytes));
	struct dev *d = dev_new(9);
	struct request *r = calloc(1, sizeof(*r));
	struct merr err = MERR_INIT;

	(void)state;
	TAILQ_INSERT_TAIL(&d->tail, r, tail);
	assert_int_equal(vmstate_load(&dev_vmstate, d, 1, &in, bytes, &err), -EINVAL);
	assert_string_equal(err.msg, "offset 0: field 'tail[0]': the queue is not empty here: pre_load must empty it");
	dev_free(d);
}

static void a_loop_does_not_save_for_ever(void **state)
{
	struct buf out = { 0 };
	struct dev *d = dev_new(9);
	struct request r = { .id = 1, .single.sle_next = &r };
	struct merr err = MERR_INIT;

	(void)state;
	d->single.slh_first = &r;
	assert_int_equal(vmstate_save(&dev_vmstate, d, &out, NULL, &err), -EINVAL);
	assert_string_equal(err.msg, "field 'single[3]': more elements than the description's bound, or a loop");
	d->single.slh_first = NULL;
	dev_free(d);
	buf_done(&out);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_queue_is_marks_and_elements),
		cmocka_unit_test(what_a_queue_refuses),
		cmocka_unit_test(a_queue_must_be_empty_before_a_load),
		cmocka_unit_test(a_loop_does_not_save_for_ever),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
