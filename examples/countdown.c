/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A countdown timer as a VMM's author would describe it, and what becomes of the description over three releases.
 * docs/vmstate.md walks through it. Prints what it does; exit status 0 if all went as it should.
 *
 *     cc countdown.c $(pkg-config --cflags --libs migd-guest) -o countdown
 */
#include <errno.h>
#include <migd/guest.h>
#include <stdio.h>
#include <string.h>

#define FIFO_LEN 8

struct event {
	uint64_t at_ns;
	uint8_t what;
};

struct countdown {
	/* What the guest sees: it moves. */
	uint32_t reload;
	uint32_t control;
	uint64_t expires_ns;
	uint32_t n_events;
	struct event events[FIFO_LEN];
	uint16_t prescaler;	/* release 2 */
	bool can_capture;	/* release 3: how this VMM was started, equal on both sides */
	uint64_t captured_ns;
	/* What is this host's, or follows from the rest: it stays. */
	int timer_fd;
	bool irq_level;
};

static const struct migd_vmstate_field event_fields[] = {
	MIGD_VMS_FIELD_U64(struct event, at_ns),
	MIGD_VMS_FIELD_U8(struct event, what),
	MIGD_VMS_FIELD_END
};

static const struct migd_vmstate event_state = {
	.name = "countdown-event",
	.version = 1,
	.fields = event_fields,
};

/* Before anything is loaded: what an older source does not send has its value from here. */
static int countdown_pre_load(void *opaque, struct migd_vmstate_error *err)
{
	struct countdown *c = opaque;

	(void)err;
	c->prescaler = 1;
	c->captured_ns = 0;
	return 0;
}

/* The bytes are a peer's: check what the device will rely on, then work out what follows from it. */
static int countdown_post_load(void *opaque, uint32_t version, struct migd_vmstate_error *err)
{
	struct countdown *c = opaque;

	(void)version;
	if (c->prescaler == 0)
		return migd_vmstate_fail(err, -EINVAL, "prescaler 0 would divide by zero");
	c->irq_level = c->n_events > 0;
	return 0;
}

static const struct migd_vmstate_field countdown_fields[] = {
	MIGD_VMS_FIELD_U32(struct countdown, reload),
	MIGD_VMS_FIELD_U32(struct countdown, control),
	MIGD_VMS_FIELD(TIMER, struct countdown, expires_ns),
	MIGD_VMS_FIELD_U32(struct countdown, n_events),
	MIGD_VMS_FIELD_STRUCT_VARRAY(struct countdown, events, struct event, FIFO_LEN, n_events, &event_state),
	MIGD_VMS_FIELD_SINCE(U16, struct countdown, prescaler, 2),
	MIGD_VMS_FIELD_END
};

/* Sent only if it says something: a guest that never captured moves to an older VMM, too. */
static bool capture_needed(void *opaque)
{
	const struct countdown *c = opaque;

	return c->can_capture && c->captured_ns != 0;
}

static const struct migd_vmstate_field capture_fields[] = {
	MIGD_VMS_FIELD_U64(struct countdown, captured_ns),
	MIGD_VMS_FIELD_END
};

static const struct migd_vmstate capture_state = {
	.name = "countdown/capture",
	.version = 1,
	.fields = capture_fields,
	.needed = capture_needed,
};

static const struct migd_vmstate *const countdown_subsections[] = { &capture_state, NULL };

static const struct migd_vmstate countdown_state = {
	.name = "countdown",
	.version = 2,
	.minimum_version = 1,
	.fields = countdown_fields,
	.subsections = countdown_subsections,
	.pre_load = countdown_pre_load,
	.post_load = countdown_post_load,
};

/* Release 2 knew no subsection: here it stands for the older VMM. */
static const struct migd_vmstate release2_state = {
	.name = "countdown",
	.version = 2,
	.minimum_version = 1,
	.fields = countdown_fields,
	.pre_load = countdown_pre_load,
	.post_load = countdown_post_load,
};

/* What release 1 wrote: no prescaler. */
static const uint8_t release1_bytes[] = {
	0, 0, 0, 100,				/* reload */
	0, 0, 0, 1,				/* control */
	0, 0, 0, 0, 0, 0, 0x03, 0xe8,		/* expires_ns: 1000 */
	0, 0, 0, 1,				/* n_events */
	0, 0, 0, 0, 0, 0, 0, 9, 2,		/* events[0] */
};

static size_t save(struct countdown *c, uint8_t *bytes, size_t size)
{
	size_t len = 0;

	if (migd_guest_vmstate_save(&countdown_state, c, bytes, size, &len) < 0)
		printf("save: %s\n", migd_guest_error());
	return len;
}

static int load(const char *what, const struct migd_vmstate *desc, struct countdown *c, uint32_t version,
		const uint8_t *bytes, size_t len)
{
	int r = migd_guest_vmstate_load(desc, c, version, bytes, len);

	printf("%s: %s\n", what, r < 0 ? migd_guest_error() : "loaded");
	return r;
}

int main(void)
{
	struct countdown source = { .reload = 100, .control = 1, .expires_ns = MIGD_VMS_TIMER_OFF, .n_events = 2,
				    .events = { { 7, 1 }, { 9, 2 } }, .prescaler = 4, .can_capture = true,
				    .timer_fd = 17, .irq_level = true };
	struct countdown target = { .can_capture = true, .timer_fd = 23 };
	uint8_t bytes[256];
	size_t len;
	int ok;

	if (migd_guest_vmstate_check(&countdown_state) < 0) {
		printf("check: %s\n", migd_guest_error());
		return 1;
	}
	len = save(&source, bytes, sizeof(bytes));
	printf("saved %zu bytes\n", len);
	ok = load("a target alike", &countdown_state, &target, 2, bytes, len) == 0;
	ok = ok && target.prescaler == 4 && target.events[1].at_ns == 9 && target.irq_level && target.timer_fd == 23;

	ok = ok && load("from release 1", &countdown_state, &target, 1, release1_bytes, sizeof(release1_bytes)) == 0;
	ok = ok && target.prescaler == 1 && target.expires_ns == 1000;

	ok = ok && load("to release 2", &release2_state, &target, 2, bytes, len) == 0;
	source.captured_ns = 5;
	len = save(&source, bytes, sizeof(bytes));
	printf("saved %zu bytes\n", len);
	ok = ok && load("to release 2 after a capture", &release2_state, &target, 2, bytes, len) < 0;
	ok = ok && load("a target alike after a capture", &countdown_state, &target, 2, bytes, len) == 0;
	ok = ok && target.captured_ns == 5;

	bytes[19] = FIFO_LEN + 1;
	ok = ok && load("a hostile count", &countdown_state, &target, 2, bytes, len) < 0;
	printf("%s\n", ok ? "ok" : "FAILED");
	return ok ? 0 : 1;
}
