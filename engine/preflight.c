/* SPDX-License-Identifier: Apache-2.0 */
/* Source and destination compared before anything moves. */
#include "engine/preflight.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "attach/handover.h"
#include "base/bytes.h"
#include "base/cleanup.h"
#include "base/log.h"
#include "engine/return-path.h"

/* The peer compares descriptions, which takes its library a few ioctls. */
#define ANSWER_TIMEOUT_MS 10000

enum preflight_flag {
	PREFLIGHT_ONLY = 1 << 0,
};

/* What only works if it is on at both sides, or at none. */
static const enum migration_capability both_sides[] = {
	MIGRATION_CAPABILITY_RDMA_PIN_ALL,     MIGRATION_CAPABILITY_MULTIFD,
	MIGRATION_CAPABILITY_X_IGNORE_SHARED,  MIGRATION_CAPABILITY_MAPPED_RAM,
	MIGRATION_CAPABILITY_POSTCOPY_PREEMPT, MIGRATION_CAPABILITY_POSTCOPY_RAM,
};

/* ---- source ---- */

static uint8_t n_capabilities(const struct source *s, size_t *ret_bytes)
{
	uint8_t n = 0;

	*ret_bytes = 0;
	for (int i = 1; i < MIGRATION_CAPABILITY__MAX; i++)
		if (migration_has_capability(s->m, (enum migration_capability)i)) {
			*ret_bytes += 1 + strlen(migration_capability_str((enum migration_capability)i));
			n++;
		}
	return n;
}

static void send_intent(struct source *s)
{
	size_t bytes;
	uint8_t n = n_capabilities(s, &bytes);

	command_begin(s->out, WIRE_CMD_PREFLIGHT, (uint16_t)(2 + bytes));
	out_u8(s->out, s->m->start.preflight_only ? PREFLIGHT_ONLY : 0);
	out_u8(s->out, n);
	for (int i = 1; i < MIGRATION_CAPABILITY__MAX; i++)
		if (migration_has_capability(s->m, (enum migration_capability)i))
			out_str8(s->out, migration_capability_str((enum migration_capability)i));
}

static int send_description(struct source *s, bool with_intent)
{
	_cleanup_free_ uint8_t *config = malloc(ATTACH_CONFIG_MAX);
	size_t len = 0;
	int r;

	if (!config)
		return merr_set_errno(&s->err, -ENOMEM, "guest description");
	r = guest_config_fetch(&s->guest, config, &len, &s->err);
	if (r < 0)
		return r;
	if (with_intent)
		send_intent(s);
	command_begin(s->out, WIRE_CMD_CONFIG, (uint16_t)len);
	out_bytes(s->out, config, len);
	r = out_flush(s->out);
	return r < 0 ? source_stream_failed(s, r) : 0;
}

static int take_str8(struct rcur *c, char ret[ATTACH_STR_MAX + 1])
{
	uint8_t len = rcur_u8(c);
	const uint8_t *p = len <= ATTACH_STR_MAX ? rcur_bytes(c, len) : NULL;

	if (!p || memchr(p, 0, len))
		return -EBADMSG;
	memcpy(ret, p, len);
	ret[len] = '\0';
	return 0;
}

static int take_mismatch(struct source *s, const struct rp_msg *m, struct mismatches *found)
{
	struct rcur c = rcur_of(m->body, m->len);
	struct attach_mismatch mm;

	if (found->n == ATTACH_MISMATCHES_MAX)
		return in_fail(s->in, -EBADMSG, "return path: more than %u mismatches", ATTACH_MISMATCHES_MAX);
	if (take_str8(&c, mm.subject) < 0 || take_str8(&c, mm.source) < 0 ||
	    take_str8(&c, mm.target) < 0 || take_str8(&c, mm.advice) < 0 || c.left || c.bad ||
	    !mismatch_is_sound(&mm))
		return in_fail(s->in, -EBADMSG, "return path: mismatch number %u is malformed (%u bytes)",
			       found->n, m->len);
	found->list[found->n++] = mm;
	return 0;
}

static int take_count(struct source *s, const struct rp_msg *m, struct mismatches *found)
{
	struct rcur c = rcur_of(m->body, m->len);

	found->found = rcur_be32(&c);
	if (c.bad || c.left || found->found < found->n || (found->found && !found->n))
		return in_fail(s->in, -EBADMSG, "return path: %u mismatches after %u of them were named",
			       found->found, found->n);
	return 0;
}

/* The destination's list, to its end. */
static int await_list(struct source *s, struct mismatches *found)
{
	struct rp_msg m;
	int r;

	in_timeout(s->in, ANSWER_TIMEOUT_MS);
	do {
		r = rp_read(s->in, &m);
		if (r == 0 && m.type == WIRE_RP_MISMATCH)
			r = take_mismatch(s, &m, found);
		else if (r == 0 && m.type == WIRE_RP_PREFLIGHT)
			r = take_count(s, &m, found);
		else if (r == 0)
			r = source_take_message(s, &m);
	} while (r == 0 && m.type != WIRE_RP_PREFLIGHT);
	in_timeout(s->in, 0);
	return r;
}

int preflight_source(struct source *s)
{
	_cleanup_free_ struct mismatches *found = calloc(1, sizeof(*found));
	bool knows = s->features & HELLO_FEATURE_PREFLIGHT;
	struct rp_msg ok;
	int r;

	if (!found)
		return merr_set_errno(&s->err, -ENOMEM, "preflight");
	if (s->m->start.preflight_only && !knows)
		return merr_set(&s->err, -EPROTONOSUPPORT,
				"the destination's migd is too old to compare without migrating: update it; a "
				"migration compares, too, before anything moves");
	r = send_description(s, knows);
	if (r == 0 && knows) {
		r = await_list(s, found);
		if (r < 0)
			return r;
		report_preflight(s->m, found);
		if (s->m->start.preflight_only)
			return 1;
		r = mismatches_fail(found, "at the destination", &s->err);
		if (r < 0)
			return merr_prefix(&s->err, "the destination does not fit");
	}
	return r < 0 ? r : source_await(s, WIRE_RP_CONFIG_OK, ANSWER_TIMEOUT_MS, &ok);
}

int preflight_impossible(struct source *s)
{
	if (!s->m->start.preflight_only)
		return 0;
	return merr_set(&s->err, -EPROTONOSUPPORT, "the destination is no migd: it cannot compare the two sides");
}

/* ---- destination ---- */

static void compare_capabilities(struct target *t, const bool *source_on, struct mismatches *found)
{
	for (size_t i = 0; i < ARRAY_SIZE(both_sides); i++) {
		bool there = source_on[both_sides[i]], here = migration_has_capability(t->m, both_sides[i]);

		if (there != here)
			mismatch_add(found,
				     MISMATCH_TEXT("capability '%s'", migration_capability_str(both_sides[i])),
				     there ? "on" : "off", here ? "on" : "off",
				     "set it on both sides, or on none");
	}
}

static const char *uuid_text(const uint8_t *uuid, struct mismatch_text *t)
{
	char hex[2 * CONFIGURATION_UUID_LEN + 1];

	handover_id_format(uuid, hex);
	return mismatch_format(t, "%s", hex);
}

/* Capability validate-uuid, at the source. */
static void compare_uuid(struct target *t, struct mismatches *found)
{
	const struct configuration *theirs = &t->hello.configuration;
	struct configuration ours = migration_configuration(t->m);
	struct mismatch_text there, here;

	if (!theirs->has_uuid)
		return;
	if (!ours.has_uuid)
		log_warning("the source's guest has a UUID, the one here has none to compare it with");
	else if (memcmp(theirs->uuid, ours.uuid, sizeof(ours.uuid)) != 0)
		mismatch_add(found, "the guest's UUID", uuid_text(theirs->uuid, &there),
			     uuid_text(ours.uuid, &here),
			     "this VMM was started for another guest: start the right one, or turn off validate-uuid");
}

static int receive_intent(struct target *t, uint16_t len, struct preflight *ret)
{
	bool on[MIGRATION_CAPABILITY__MAX] = { false };
	uint64_t start = in_offset(t->in);
	uint8_t flags = in_u8(t->in), n = in_u8(t->in);
	enum migration_capability c;
	char name[256];

	for (; n > 0 && !in_error(t->in); n--) {
		if (in_str8(t->in, "capability", name) < 0)
			break;
		if (migration_capability_parse(name, &c) == 0)
			on[c] = true;
		else
			mismatch_add(&ret->found, MISMATCH_TEXT("capability '%.100s'", name), "on", "not known",
				     "update the destination's migd, or turn it off");
	}
	if (!in_error(t->in) && in_offset(t->in) - start != len)
		return in_fail(t->in, -EBADMSG, "preflight: %u bytes, which are not what they contain", len);
	ret->only = flags & PREFLIGHT_ONLY;
	compare_capabilities(t, on, &ret->found);
	compare_uuid(t, &ret->found);
	return in_error(t->in);
}

static int next_command(struct target *t, uint16_t want, const char *what, uint16_t *ret_len)
{
	uint16_t command;

	if (in_u8(t->in) != WIRE_COMMAND || command_read(t->in, &command, ret_len) < 0)
		return in_fail(t->in, -EBADMSG, "no command after the opening");
	if (command == WIRE_CMD_ASK || command == WIRE_CMD_ABORT || command == WIRE_CMD_PRECOPY_RESUME)
		return in_fail(t->in, -ESTALE, "the source is about a handover that this guest knows nothing of");
	if (command != want)
		return in_fail(t->in, -EBADMSG, "command 0x%x instead of %s", command, what);
	return 0;
}

int preflight_receive(struct target *t, struct preflight *ret)
{
	uint16_t len;
	int r;

	*ret = (struct preflight){ 0 };
	if (!(t->hello.features & HELLO_FEATURE_PREFLIGHT))
		return 0;
	in_timeout(t->in, OPENING_TIMEOUT_MS);
	r = next_command(t, WIRE_CMD_PREFLIGHT, "the preflight", &len);
	return r < 0 ? r : receive_intent(t, len, ret);
}

static void put_str8(struct wcur *w, const char *s)
{
	size_t len = strlen(s);

	wcur_u8(w, (uint8_t)len);
	wcur_bytes(w, s, len);
}

static int send_mismatch(struct target *t, const struct attach_mismatch *mm)
{
	uint8_t body[WIRE_RP_LEN_MAX];
	struct wcur w = wcur_of(body, sizeof(body));

	put_str8(&w, mm->subject);
	put_str8(&w, mm->source);
	put_str8(&w, mm->target);
	put_str8(&w, mm->advice);
	return w.bad ? -EMSGSIZE : rp_send(t->chan, WIRE_RP_MISMATCH, body, w.len);
}

static int send_list(struct target *t, const struct mismatches *found)
{
	int r = 0;

	for (uint32_t i = 0; r == 0 && i < found->n; i++)
		r = send_mismatch(t, &found->list[i]);
	if (r == 0)
		r = rp_send_be32(t->chan, WIRE_RP_PREFLIGHT, found->found);
	return r < 0 ? merr_set_errno(&t->err, r, "answering the source") : 0;
}

static int receive_description(struct target *t, struct mismatches *found)
{
	_cleanup_free_ struct mismatches *differ = calloc(1, sizeof(*differ));
	_cleanup_free_ uint8_t *config = NULL;
	uint16_t len;
	int r;

	r = next_command(t, WIRE_CMD_CONFIG, "the guest's description", &len);
	if (r < 0)
		return r;
	config = malloc((size_t)len + 1);
	if (!config || !differ)
		return in_fail(t->in, -ENOMEM, "guest description");
	if (in_bytes(t->in, config, len) < 0)
		return in_error(t->in);
	r = guest_config_compare(&t->guest, config, len, differ, &t->err);
	if (r == -EPROTO)
		(void)merr_prefix(&t->err, "stream offset %" PRIu64, in_offset(t->in));
	for (uint32_t i = 0; r == 0 && i < differ->n; i++)
		mismatch_add(found, differ->list[i].subject, differ->list[i].source, differ->list[i].target,
			     differ->list[i].advice);
	if (r == 0)
		found->found += differ->found - differ->n;
	return r;
}

int preflight_target(struct target *t, struct preflight *p)
{
	int r = receive_description(t, &p->found);

	if (r < 0)
		return r;
	if (t->hello.features & HELLO_FEATURE_PREFLIGHT) {
		report_preflight(t->m, &p->found);
		r = send_list(t, &p->found);
	}
	if (r < 0 || p->only)
		return r;
	r = mismatches_fail(&p->found, "here", &t->err);
	if (r == 0)
		r = rp_send(t->chan, WIRE_RP_CONFIG_OK, NULL, 0);
	return r < 0 ? merr_set_errno(&t->err, r, "answering the source") : 0;
}
