/* SPDX-License-Identifier: Apache-2.0 */
/* The second connection of post-copy. */
#include "engine/urgent-channel.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/fd.h"
#include "base/short-slice.h"
#include "engine/postcopy-recover.h"
#include "engine/target.h"
#include "engine/wire.h"

/* A guest that is stopped waits for it. */
#define AWAIT_MS 10000

/* How often a stream that is silent is left alone. */
#define MIND_MS 20

/* In mid-page. */
#define PAGE_TIMEOUT_MS 60000

struct urgent_channel {
	struct chan *chan;
	struct in *in;
	struct merr err;	/* the thread's until `ended` */
	struct ram_target receiver;
	struct placer placer;
	int stop_fd;		/* wake */
	int ended_fd;		/* wake */
	int failed_fd;		/* wake */
	atomic_bool failed;
	pthread_t thread;
	bool started;
};

/* ---- receiving ---- */

static void *receive(void *opaque)
{
	struct urgent_channel *u = opaque;
	uint64_t w;

	(void)pthread_setname_np(pthread_self(), "mig/dst/urgent");
	short_slice();
	do {
		in_timeout(u->in, 0);
		/* Between two pages it may end as it likes; an old QEMU's says so. */
		if (in_at_end(u->in))
			break;
		in_timeout(u->in, PAGE_TIMEOUT_MS);
		w = in_be64(u->in);
	} while (!in_error(u->in) && w != WIRE_RAM_EOS && ram_target_record(&u->receiver, w, false) == 0);
	placer_reset(&u->placer);
	if (in_error(u->in)) {
		atomic_store(&u->failed, true);
		wake_raise(u->failed_fd);
	}
	wake_raise(u->ended_fd);
	return NULL;
}

static int begin(struct urgent_channel *u, struct target *t, struct placement *placement)
{
	int r;

	u->in = in_new(u->chan, t->m->stats, &u->err);
	if (!u->in || u->stop_fd < 0 || u->ended_fd < 0 || u->failed_fd < 0)
		return -ENOMEM;
	chan_set_cancel(u->chan, u->stop_fd);
	chan_watch_peer(u->chan, POSTCOPY_SILENCE_MS);
	placer_init(&u->placer, placement, u->in);
	u->receiver = (struct ram_target){ .ram = &t->ram,
					   .in = u->in,
					   .runs = t->receiver.runs,
					   .placer = &u->placer,
					   .listed = true };
	r = -pthread_create(&u->thread, NULL, receive, u);
	u->started = r == 0;
	return r;
}

/* Takes over CHAN. */
static struct urgent_channel *start(struct target *t, struct chan *chan, struct placement *placement)
{
	struct urgent_channel *u = calloc(1, sizeof(*u));

	if (!u) {
		(void)chan_free(chan);
		(void)merr_set_errno(&t->err, -ENOMEM, "the urgent channel");
		return NULL;
	}
	u->chan = chan;
	u->stop_fd = wake_new();
	u->ended_fd = wake_new();
	u->failed_fd = wake_new();
	if (begin(u, t, placement) == 0)
		return u;
	(void)merr_set_errno(&t->err, -ENOMEM, "the urgent channel");
	return urgent_channel_free(u);
}

struct urgent_channel *urgent_channel_free(struct urgent_channel *u)
{
	if (!u)
		return NULL;
	if (u->started) {
		wake_raise(u->stop_fd);
		(void)pthread_join(u->thread, NULL);
	}
	(void)in_free(u->in);
	(void)chan_free(u->chan);
	(void)close_fd(u->stop_fd);
	(void)close_fd(u->ended_fd);
	(void)close_fd(u->failed_fd);
	free(u);
	return NULL;
}

int urgent_channel_ended_fd(const struct urgent_channel *u)
{
	return u->ended_fd;
}

int urgent_channel_failed_fd(const struct urgent_channel *u)
{
	return u->failed_fd;
}

bool urgent_channel_why(struct urgent_channel *u, struct merr *err)
{
	if (!u || !atomic_load(&u->failed))
		return false;
	*err = u->err;
	(void)merr_prefix(err, "urgent channel");
	return true;
}

/* ---- which connection it is ---- */

void urgent_channel_expect(struct target *t)
{
	if (t->hello.peer == PEER_QEMU)
		reception_keep_silent(t->reception);
}

/* Nothing came for MIND_MS. True: wait on; in the statistics are all channels' bytes. */
static bool look_after_others(void *opaque)
{
	struct target *t = opaque;
	uint64_t bytes = stats_get(t->m->stats, received_bytes), now_ns = clock_now_ns();

	reception_work(t->reception);
	if (t->silence.since_ns == 0 || bytes != t->silence.bytes) {
		t->silence.since_ns = now_ns;
		t->silence.bytes = bytes;
	}
	if (now_ns - t->silence.since_ns < t->silence.most_ns)
		return true;
	/* For the error's text. */
	in_timeout(t->in, t->silence.most_ns / NS_PER_MS);
	return false;
}

void urgent_channel_mind(struct target *t, uint64_t idle_ms)
{
	t->silence.most_ns = idle_ms * NS_PER_MS;
	in_timeout(t->in, MIND_MS);
	in_on_silence(t->in, look_after_others, t);
}

int urgent_channel_watch(struct target *t, uint64_t deadline_ns)
{
	while (!in_ready(t->in) && clock_now_ns() < deadline_ns) {
		struct pollfd p[] = {
			{ .fd = chan_fd(t->chan), .events = POLLIN },
			{ .fd = reception_fd(t->reception), .events = POLLIN },
			{ .fd = t->m->cancel_fd, .events = POLLIN },
			{ .fd = t->m->pause_fd, .events = POLLIN },
		};

		(void)poll(p, ARRAY_SIZE(p), clock_poll_ms(min_u64(deadline_ns, reception_deadline(t->reception))));
		if (p[2].revents)
			return merr_set(&t->err, -ECANCELED, "cancelled");
		reception_work(t->reception);
		/* What came may be TLS's own: reading tells. */
		if (p[0].revents || p[3].revents)
			break;
	}
	return 0;
}

/* A migd's, whose hello is there: is it ours? */
static bool is_ours(struct target *t, struct chan *chan)
{
	uint8_t hello[URGENT_HELLO_LEN];
	struct merr why = MERR_INIT;

	if (chan_read(chan, hello, sizeof(hello), clock_now_ns() + NS_PER_SEC) == sizeof(hello) &&
	    memcmp(hello + 4, t->hello.handover_id, ATTACH_ID_LEN) == 0)
		return true;
	(void)merr_set(&why, -EACCES, "an urgent channel of another migration");
	target_note_refusal(t, &why);
	return false;
}

/* The connection, if it has come; NULL: not yet. */
static struct chan *take(struct target *t)
{
	struct chan *chan;

	if (t->hello.peer != PEER_MIGD)
		return reception_take_silent(t->reception);
	while ((chan = reception_take(t->reception, ARRIVAL_URGENT)) && !is_ours(t, chan))
		(void)chan_free(chan);
	return chan;
}

struct urgent_channel *urgent_channel_await(struct target *t, struct placement *placement)
{
	uint64_t deadline_ns = clock_now_ns() + AWAIT_MS * NS_PER_MS;
	struct chan *chan;

	for (;;) {
		reception_work(t->reception);
		chan = take(t);
		if (chan)
			return start(t, chan, placement);
		if (clock_now_ns() >= deadline_ns) {
			(void)merr_set(&t->err, -ETIMEDOUT, "the channel for urgent pages did not come within %d s: capability "
				       "postcopy-preempt must be on on both sides, or on neither", AWAIT_MS / 1000);
			return NULL;
		}
		if (fd_wait(reception_fd(t->reception), POLLIN, t->m->cancel_fd,
			    min_u64(deadline_ns, reception_deadline(t->reception))) == -ECANCELED) {
			(void)merr_set(&t->err, -ECANCELED, "cancelled");
			return NULL;
		}
	}
}
