/* SPDX-License-Identifier: Apache-2.0 */
/* The registry of section handlers: order, ids, turns and framing as sent; lookup, versions and framing as loaded. */
/* LIBS: migd_engine */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include <cmocka.h>

#include "base/bytes.h"
#include "base/fd.h"
#include "engine/handler.h"

/* A live device with `left` units of eight bytes, of which a turn sends two. */
struct device {
	uint64_t left;
	uint64_t received;
	unsigned int turns;
	bool unplugging;
	bool started, complete, cleaned;
};

static int dev_setup(void *opaque, struct out *out, struct merr *err)
{
	struct device *d = opaque;

	(void)err;
	out_be64(out, d->left);
	return 0;
}

static int dev_pending(void *opaque, uint64_t *ret, struct merr *err)
{
	(void)err;
	*ret = ((struct device *)opaque)->left * 8;
	return 0;
}

static void send_units(struct device *d, struct out *out, uint64_t n)
{
	out_u8(out, (uint8_t)n);
	for (; n > 0; n--)
		out_be64(out, d->left--);
}

static int dev_iterate(void *opaque, struct out *out, struct merr *err)
{
	struct device *d = opaque;

	(void)err;
	d->turns++;
	send_units(d, out, min_u64(d->left, 2));
	return d->left == 0;
}

static int dev_complete(void *opaque, struct out *out, struct merr *err)
{
	(void)err;
	send_units(opaque, out, ((struct device *)opaque)->left);
	return 0;
}

static bool dev_unplug_pending(void *opaque)
{
	return ((struct device *)opaque)->unplugging;
}

static int dev_load_setup(void *opaque, struct in *in, uint32_t version)
{
	struct device *d = opaque;

	assert_int_equal(version, 3);
	d->started = true;
	d->left = in_be64(in);
	return in_error(in);
}

static int dev_load(void *opaque, struct in *in, enum wire_section part, uint32_t version)
{
	struct device *d = opaque;
	uint8_t n = in_u8(in);

	assert_int_equal(version, 3);
	for (; n > 0; n--, d->received++)
		assert_int_equal(in_be64(in), d->left - d->received);
	d->complete = part == WIRE_SECTION_END;
	return in_error(in);
}

static void dev_cleanup(void *opaque)
{
	((struct device *)opaque)->cleaned = true;
}

static const struct handler_ops live_ops = {
	.setup = dev_setup,
	.pending_estimate = dev_pending,
	.iterate = dev_iterate,
	.complete = dev_complete,
	.unplug_pending = dev_unplug_pending,
	.load_setup = dev_load_setup,
	.load = dev_load,
	.cleanup = dev_cleanup,
};

static int word_save(void *opaque, struct buf *body, struct merr *err)
{
	(void)err;
	buf_be32(body, *(uint32_t *)opaque);
	return 0;
}

static int word_load(void *opaque, struct in *in, enum wire_section part, uint32_t version)
{
	assert_int_equal(part, WIRE_SECTION_FULL);
	*(uint32_t *)opaque = in_be32(in) + (version << 16);
	return in_error(in);
}

static const struct handler_ops word_ops = { .save = word_save, .load = word_load };

static void add(struct handlers *hs, const char *idstr, uint32_t instance, enum handler_priority priority,
		const struct handler_ops *ops, void *opaque)
{
	const struct handler h = { .idstr = idstr, .instance = instance, .alias = HANDLER_NO_ALIAS,
				   .version = 3, .minimum_version = 2, .priority = priority, .ops = ops,
				   .opaque = opaque };

	assert_int_equal(handlers_add(hs, &h, NULL), 0);
}

/* Both ends of a stream. */
struct stream {
	struct chan *from, *to;
	struct stats_page *stats;
	struct rate rate;
	struct out *out;
	struct in *in;
	struct merr err;
};

static void stream_open(struct stream *s)
{
	int fds[2];

	*s = (struct stream){ .stats = calloc(1, sizeof(*s->stats)) };
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
	s->from = chan_new(fds[0], -1);
	s->to = chan_new(fds[1], -1);
	s->out = out_new(s->from, &s->rate, s->stats, -1);
	s->in = in_new(s->to, NULL, &s->err);
	assert_true(s->out && s->in);
}

static void stream_close(struct stream *s)
{
	s->out = out_free(s->out);
	s->in = in_free(s->in);
	chan_free(s->from);
	chan_free(s->to);
	free(s->stats);
}

static int load_one(struct stream *s, struct handlers *hs, struct section_head *head)
{
	if (section_head_read(s->in, in_u8(s->in), head) < 0)
		return in_error(s->in);
	return handlers_load(hs, s->in, head);
}

static void test_live_handlers_take_turns(void **state)
{
	struct device big = { .left = 5 }, small = { .left = 1 }, big2 = { 0 }, small2 = { 0 };
	struct handlers from = { 0 }, to = { 0 };
	const char *order[] = { "big", "small", "big", "small", "big", "big", "big", "small" };
	struct section_head head;
	struct stream s;
	uint64_t pending;

	(void)state;
	stream_open(&s);
	add(&from, "small", 0, HANDLER_PRIORITY_LOW, &live_ops, &small);
	add(&from, "big", 0, HANDLER_PRIORITY_DEFAULT, &live_ops, &big);
	add(&to, "big", 0, HANDLER_PRIORITY_DEFAULT, &live_ops, &big2);
	add(&to, "small", 0, HANDLER_PRIORITY_DEFAULT, &live_ops, &small2);
	assert_int_equal(handlers_pending(&from, true, &pending, NULL), 0);
	assert_int_equal(pending, 48);
	assert_int_equal(handlers_setup(&from, s.out, NULL), 0);
	assert_int_equal(handlers_iterate(&from, s.out, NULL, NULL, NULL), 0);
	assert_int_equal(handlers_pending(&from, false, &pending, NULL), 0);
	assert_int_equal(pending, 0);
	assert_int_equal(big.turns, 3);
	assert_int_equal(small.turns, 1);
	assert_int_equal(handlers_complete(&from, s.out, false, NULL), 0);
	for (size_t i = 0; i < sizeof(order) / sizeof(order[0]); i++) {
		assert_int_equal(load_one(&s, &to, &head), 1);
		assert_int_equal(head.id, handlers_find(&from, order[i], 0)->section_id);
	}
	assert_int_equal(big2.received, 5);
	assert_int_equal(small2.received, 1);
	assert_true(big2.complete && small2.complete);
	assert_int_equal(handlers_load_done(&to, s.in, false), 0);
	small.unplugging = true;
	assert_true(handlers_unplug_pending(&from));
	small.unplugging = false;
	assert_false(handlers_unplug_pending(&from));
	handlers_done(&from);
	assert_true(big.cleaned && small.cleaned);
	handlers_done(&to);
	stream_close(&s);
}

static void test_full_sections_find_their_handler_by_alias(void **state)
{
	uint32_t a = 0x11, b = 0x22, a2 = 0;
	struct handlers from = { 0 }, to = { 0 };
	struct buf sections = { 0 }, devices = { 0 };
	struct section_head head;
	struct stream s;

	(void)state;
	stream_open(&s);
	add(&from, "a", 7, HANDLER_PRIORITY_LOW, &word_ops, &a);
	add(&from, "b", 0, HANDLER_PRIORITY_DEFAULT, &word_ops, &b);
	add(&to, "a", 1, HANDLER_PRIORITY_DEFAULT, &word_ops, &a2);
	handlers_find(&to, "a", 1)->alias = 7;
	assert_int_equal(handlers_free_id(&from), 3);
	assert_int_equal(handlers_save(&from, &sections, &devices, NULL), 0);
	buf_u8(&devices, 0);
	assert_string_equal((char *)devices.data,
			    "{\"name\": \"b\", \"instance_id\": 0, \"size\": 4, \"fields\": [{\"name\": \"data\", "
			    "\"size\": 4, \"type\": \"buffer\"}]}, {\"name\": \"a\", \"instance_id\": 7, \"size\": 4, "
			    "\"fields\": [{\"name\": \"data\", \"size\": 4, \"type\": \"buffer\"}]}");
	out_bytes(s.out, sections.data, sections.len);
	assert_int_equal(out_flush(s.out), 0);
	/* Nobody's: nothing of the body is read. */
	assert_int_equal(load_one(&s, &to, &head), 0);
	assert_string_equal(head.idstr, "b");
	assert_int_equal(in_be32(s.in), 0x22);
	assert_int_equal(section_footer_check(s.in, head.idstr, head.id), 0);
	assert_int_equal(load_one(&s, &to, &head), 1);
	assert_int_equal(a2, 0x11 + (3 << 16));
	/* Once is enough. */
	out_bytes(s.out, sections.data + sections.len / 2, sections.len / 2);
	assert_int_equal(out_flush(s.out), 0);
	assert_int_equal(load_one(&s, &to, &head), -EBADMSG);
	assert_non_null(strstr(s.err.msg, "section 'a' instance 7 starts twice"));
	buf_done(&sections);
	buf_done(&devices);
	handlers_done(&from);
	handlers_done(&to);
	stream_close(&s);
}

/* Sections by hand: what is wrong with them, and what the error says. */
static const struct {
	const char *bytes;
	size_t len;
	const char *says;
} bad[] = {
#define BAD(bytes, says) { bytes, sizeof(bytes) - 1, says }
	BAD("\x04\0\0\0\1\1a\0\0\0\0\0\0\0\4", "section 'a': field 'version': 4"),
	BAD("\x04\0\0\0\1\1a\0\0\0\0\0\0\0\1", "section 'a': field 'version': 1"),
	BAD("\x01\0\0\0\1\1a\0\0\0\0\0\0\0\3", "section 'a': field 'type'"),
	BAD("\x04\0\0\0\1\4live\0\0\0\0\0\0\0\3", "section 'live': field 'type'"),
	BAD("\x04\0\0\0\1\1a\0\0\0\0\0\0\0\3????\x7e\0\0\0\2", "section 'a': its footer"),
	BAD("\x04\0\0\0\1\1a\0\0\0\0\0\0\0\3????\x7f\0\0\0\1", "section 'a': its footer"),
	BAD("\x02\0\0\0\1", "field 'section id': 1 was never announced"),
	BAD("\x04\0\0\0\1\0", "section idstr is empty"),
	BAD("\x01\0\0\0\1\4live\0\0\0\0\0\0\0\3\0\0\0\0\0\0\0\0\x7e\0\0\0\1\3\0\0\0\1\0\x7e\0\0\0\1\2\0\0\0\1",
	    "section 'live': a part of it after its end"),
	BAD("\x01\0\0\0\1\4live\0\0\0\0\0\0\0\3\0\0\0\0\0\0\0\0\x7e\0\0\0\1\4\0\0\0\1\1a\0\0\0\0\0\0\0\3",
	    "section 'a': field 'section id': 1 is 'live' already"),
};

static void test_bad_framing_is_named(void **state)
{
	struct handlers hs;
	struct section_head head;
	struct device d;
	uint32_t word;
	struct stream s;
	int r;

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		hs = (struct handlers){ 0 };
		d = (struct device){ 0 };
		stream_open(&s);
		add(&hs, "a", 0, HANDLER_PRIORITY_DEFAULT, &word_ops, &word);
		add(&hs, "live", 0, HANDLER_PRIORITY_DEFAULT, &live_ops, &d);
		out_bytes(s.out, bad[i].bytes, bad[i].len);
		assert_int_equal(out_flush(s.out), 0);
		do
			r = load_one(&s, &hs, &head);
		while (r == 1);
		assert_int_equal(r, -EBADMSG);
		if (!strstr(s.err.msg, bad[i].says) || !strstr(s.err.msg, "stream offset"))
			fail_msg("%zu: '%s' does not say '%s'", i, s.err.msg, bad[i].says);
		handlers_done(&hs);
		stream_close(&s);
	}
}

static void test_registration_refuses_what_is_there(void **state)
{
	struct handlers hs = { 0 };
	struct handler again = { .idstr = "a", .alias = HANDLER_NO_ALIAS, .version = 1, .ops = &word_ops };
	uint32_t word = 0;

	(void)state;
	add(&hs, "a", 0, HANDLER_PRIORITY_DEFAULT, &word_ops, &word);
	assert_int_equal(handlers_add(&hs, &again, NULL), -EEXIST);
	again.instance = 1;
	again.alias = 0;
	assert_int_equal(handlers_add(&hs, &again, NULL), -EEXIST);
	again.idstr = "";
	assert_int_equal(handlers_add(&hs, &again, NULL), -EINVAL);
	for (uint32_t i = 1; i < HANDLERS_MAX; i++)
		add(&hs, "a", i, HANDLER_PRIORITY_DEFAULT, &word_ops, &word);
	again = (struct handler){ .idstr = "b", .alias = HANDLER_NO_ALIAS, .version = 1, .ops = &word_ops };
	assert_int_equal(handlers_add(&hs, &again, NULL), -ENOSPC);
	handlers_done(&hs);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_live_handlers_take_turns),
		cmocka_unit_test(test_full_sections_find_their_handler_by_alias),
		cmocka_unit_test(test_bad_framing_is_named),
		cmocka_unit_test(test_registration_refuses_what_is_there),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
