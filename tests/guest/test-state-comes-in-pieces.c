/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A guest's state as a stream that is not packaged: fed section by section, it arrives as whole as by STATE_LOAD; a worker
 * that feeds nonsense costs the incoming guest and nothing else.
 */
/* LIBS: migd_guest */
/* SOURCES: vm.c peer.c */
/* LABELS: kvm */
/* TIMEOUT: 300 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

#include "base/bytes.h"
#include "base/cleanup.h"
#include "base/fd.h"
#include "fixture.h"

static const struct vm_options source = { .program = VM_COUNT, .role = MIGD_GUEST_RUNNING };
static const struct vm_options target = { .program = VM_COUNT, .role = MIGD_GUEST_INCOMING };

static int refused(struct peer *p, int r, const struct merr *err)
{
	(void)snprintf(p->last_text, sizeof(p->last_text), "%s", merr_msg(err));
	return r;
}

static int feed(struct peer *p, const struct attach_state_feed *req, struct attach_state_feed_reply *ret)
{
	static uint8_t body[ATTACH_BODY_MAX];
	struct wcur w = wcur_of(body, sizeof(body));
	struct merr err = MERR_INIT;
	struct conn_msg m;
	int r;

	assert_int_equal(attach_state_feed_encode(&w, req), 0);
	r = conn_call(p->channel, ATTACH_STATE_FEED, body, w.len, NULL, 0, PEER_DEADLINE, -1, &m, &err);
	if (r < 0)
		return refused(p, r, &err);
	assert_int_equal(attach_state_feed_reply_decode(&m.body, ret, &err), 0);
	conn_msg_done(&m);
	return 0;
}

static int feed_end(struct peer *p, uint8_t ram_only)
{
	struct merr err = MERR_INIT;
	struct conn_msg m;
	int r = conn_call(p->channel, ATTACH_STATE_FEED_END, &ram_only, 1, NULL, 0, PEER_DEADLINE, -1, &m, &err);

	if (r < 0)
		return refused(p, r, &err);
	conn_msg_done(&m);
	return 0;
}

/* The section at IN, whose body is fed STEP bytes a time; IN is left behind its footer. */
static int feed_section(struct peer *p, struct rcur *in, size_t step, const uint8_t *origin)
{
	struct attach_state_feed req = { .first = 1 };
	struct attach_state_feed_reply rep = { .needs = 1 };
	size_t have = 0;
	uint32_t id;
	uint8_t len;
	int r;

	assert_int_equal(rcur_u8(in), 4);
	id = rcur_be32(in);
	len = rcur_u8(in);
	memcpy(req.name, rcur_bytes(in, len), len);
	req.instance = rcur_be32(in);
	req.version = rcur_be32(in);
	while (!rep.done) {
		have = min_u64(in->left, max_u64(have + step, rep.needs));
		req.bytes = (struct attach_blob){ .data = in->p, .len = (uint32_t)have };
		req.offset = (uint64_t)(in->p - origin);
		r = feed(p, &req, &rep);
		if (r < 0)
			return r;
		assert_true(rep.done || rep.needs > have - rep.consumed);
		(void)rcur_bytes(in, rep.consumed);
		have -= rep.consumed;
		req.first = 0;
	}
	assert_int_equal(rcur_u8(in), 0x7e);
	assert_int_equal(rcur_be32(in), id);
	return 0;
}

static uint8_t *saved_state(struct fixture *f, size_t *ret_len)
{
	struct attach_state_save_reply rep;
	uint8_t *bytes;
	int fd = -1;

	MUST(f, peer_save(&f->peer, &fd, &rep));
	bytes = malloc(rep.len);
	assert_int_equal(fd_pread_full(fd, bytes, rep.len, 0), 0);
	(void)close(fd);
	*ret_len = rep.len;
	return bytes;
}

static void begin_target(struct fixture *f)
{
	fixture_begin(f, &target);
	peer_must_open(&f->peer, PEER_TARGET);
	MUST(f, peer_handover(&f->peer, ATTACH_HANDOVER_BEGIN, id_a, NULL));
}

static void move_by(size_t step)
{
	struct fixture a, b;
	uint8_t *bytes;
	struct rcur in;
	size_t len;

	fixture_begin(&a, &source);
	vm_expect_running(&a.vm);
	fixture_paused(&a, id_a);
	bytes = saved_state(&a, &len);
	begin_target(&b);
	memcpy(b.vm.ram, a.vm.ram, VM_RAM_LEN);
	in = rcur_of(bytes, len);
	while (in.left)
		MUST(&b, feed_section(&b.peer, &in, step, bytes));
	assert_int_equal(peer_loaded(&b.peer, id_a, 0), -EBADFD);	/* not before the end was said */
	MUST(&b, feed_end(&b.peer, 0));
	assert_int_equal(feed_end(&b.peer, 0), -EBADFD);
	MUST(&b, peer_loaded(&b.peer, id_a, 0));
	MUST(&a, peer_handover(&a.peer, ATTACH_RELEASE, id_a, NULL));
	MUST(&b, peer_handover(&b.peer, ATTACH_ACTIVATE, id_a, NULL));
	vm_expect_running(&b.vm);
	free(bytes);
	fixture_end(&a);
	fixture_end(&b);
}

static void test_fed_in_pieces_it_runs(void **state)
{
	static const size_t steps[] = { 13, 1000, ATTACH_FEED_MAX };

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(steps); i++)
		move_by(steps[i]);
}

static void expect_discarded(struct fixture *f, int r, int code, const char *text)
{
	assert_int_equal(r, code);
	if (!strstr(f->peer.last_text, text))
		fail_msg("'%s' is not in: %s", text, f->peer.last_text);
	assert_int_equal(peer_state(&f->peer), HANDOVER_DISCARDED);
	fixture_end(f);
}

static void test_what_is_wrong_costs_the_incoming_guest(void **state)
{
	static const uint8_t piece[16];
	struct attach_state_feed req = { .first = 1, .name = "toaster", .instance = 3, .version = 1, .offset = 99,
					 .bytes = { .data = piece, .len = 16 } };
	struct attach_state_feed_reply rep;
	struct fixture f;

	(void)state;
	begin_target(&f);
	expect_discarded(&f, feed(&f.peer, &req, &rep), -EINVAL,
			 "section 'toaster' instance 3 at offset 99: there is no such device here");
	begin_target(&f);
	req.first = 0;
	expect_discarded(&f, feed(&f.peer, &req, &rep), -EPROTO, "bytes of a section that is complete, or was never begun");
	begin_target(&f);
	expect_discarded(&f, feed_end(&f.peer, 0), -EPROTO, "section 'kvm-vm' instance 0 is missing");
	begin_target(&f);
	strcpy(req.name, "kvm-vm");
	req.first = 1;
	req.instance = 0;
	req.version = 77;
	expect_discarded(&f, feed(&f.peer, &req, &rep), -EINVAL, "section 'kvm-vm' instance 0: offset 99: 'kvm-vm' has version 77");
}

/* The channel ends within a section: whatever was held is dropped, and the next guest may come. */
static void test_half_a_section_is_forgotten(void **state)
{
	static const uint8_t piece[3];
	struct attach_state_feed req = { .first = 1, .name = "kvm-vm", .version = 1,
					 .bytes = { .data = piece, .len = sizeof(piece) } };
	struct attach_state_feed_reply rep;
	struct fixture f;

	(void)state;
	begin_target(&f);
	MUST(&f, feed(&f.peer, &req, &rep));
	assert_false(rep.done);
	peer_hang_up(&f.peer);
	peer_wait_state(&f.peer, HANDOVER_DISCARDED);
	fixture_end(&f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_fed_in_pieces_it_runs),
		cmocka_unit_test(test_what_is_wrong_costs_the_incoming_guest),
		cmocka_unit_test(test_half_a_section_is_forgotten),
	};

	vm_need_kvm();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
