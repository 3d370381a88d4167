/* SPDX-License-Identifier: Apache-2.0 */
/* Which connections become channels of multifd: the destination's part. */
#include "engine/multifd-gather.h"

#include <errno.h>
#include <poll.h>
#include <string.h>

#include "base/bytes.h"
#include "base/clock.h"
#include "base/fd.h"

/* A main connection that is closed meanwhile is noticed so soon. */
#define LOOK_NS (100 * NS_PER_MS)

/* What makes a connection no channel of this migration. */
static int check_hello(struct target *t, const struct multifd_hello *h, struct merr *why)
{
	static const uint8_t nobody[ATTACH_ID_LEN];
	const uint8_t *wanted = t->hello.peer == PEER_MIGD ? t->hello.handover_id : nobody;
	struct configuration ours = migration_configuration(t->m);

	if (memcmp(h->handover_id, wanted, ATTACH_ID_LEN) != 0)
		return merr_set(why, -EACCES, "multifd channel %u is of another migration", h->id);
	if (memcmp(h->uuid, ours.has_uuid ? ours.uuid : nobody, ATTACH_ID_LEN) != 0)
		return merr_set(why, -EACCES, "multifd channel %u: field 'uuid' is not this guest's: start the VMM with the "
				"UUID that the source has", h->id);
	if (h->id >= t->m->start.parameters.multifd_channels)
		return merr_set(why, -EBADMSG, "multifd channel %u: field 'id': there are %u here: multifd-channels must be "
				"the same on both sides", h->id, t->m->start.parameters.multifd_channels);
	if (multifd_target_has(t->multifd, h->id))
		return merr_set(why, -EEXIST, "multifd channel %u is there already", h->id);
	return 0;
}

/* A source of migd's says how many there will be. */
static int check_number(struct target *t, const struct multifd_hello *h)
{
	unsigned int n = t->m->start.parameters.multifd_channels;

	if (t->hello.peer != PEER_MIGD || memcmp(h->handover_id, t->hello.handover_id, ATTACH_ID_LEN) != 0 ||
	    h->n_channels == n)
		return 0;
	return merr_set(&t->err, -EINVAL, "the source has %u multifd channels, and %u are expected here: parameter "
			"multifd-channels must be the same on both sides", h->n_channels, n);
}

/* The hello is there, says the reception. */
static int read_hello(struct chan *chan, struct multifd_hello *ret, struct merr *why)
{
	uint8_t bytes[MULTIFD_HELLO_LEN];
	size_t done = 0;
	ssize_t n;

	while (done < sizeof(bytes)) {
		n = chan_read(chan, bytes + done, sizeof(bytes) - done, clock_now_ns() + NS_PER_SEC);
		if (n <= 0)
			return merr_set_errno(why, n < 0 ? (int)n : -ENODATA, "a multifd channel's first bytes");
		done += (size_t)n;
	}
	return multifd_hello_parse(bytes, ret, why);
}

/* The source gave it up, or was itself given up. */
static bool is_closed(struct chan *chan)
{
	uint8_t next;

	return chan_peek(chan, &next, sizeof(next)) == 0;
}

/* Take over CHAN. Refusing it is no failure. */
static int admit(struct target *t, struct chan *chan)
{
	struct merr why = MERR_INIT;
	struct multifd_hello h;
	int r;

	r = read_hello(chan, &h, &why);
	if (r == 0 && !is_closed(chan)) {
		r = check_number(t, &h);
		if (r < 0) {
			(void)chan_free(chan);
			return r;
		}
		if (check_hello(t, &h, &why) == 0 && multifd_target_add(t->multifd, h.id, chan) == 0)
			return 0;
	}
	if (merr_is_set(&why))
		target_note_refusal(t, &why);
	(void)chan_free(chan);
	return 0;
}

static void refuse_all(struct target *t, const char *text)
{
	struct chan *chan;
	struct merr why;

	while ((chan = reception_take(t->reception, ARRIVAL_MULTIFD))) {
		why = (struct merr)MERR_INIT;
		(void)merr_set(&why, -EACCES, "a multifd channel, %s", text);
		target_note_refusal(t, &why);
		(void)chan_free(chan);
	}
}

static int open_set(struct target *t)
{
	const struct migration_parameters *p = &t->m->start.parameters;
	struct merr why = MERR_INIT;
	int r;

	r = multifd_codec_check(p->multifd_compression, &why);
	if (r < 0)
		return merr_copy(&t->err, &why);
	t->multifd = multifd_target_new(&t->ram, t->m->stats, p->multifd_channels, p->multifd_compression,
					t->m->cancel_fd);
	return t->multifd ? 0 : merr_set(&t->err, -ENOMEM, "multifd: no memory, or no descriptors, for %u channels",
					 p->multifd_channels);
}

/* Look at what came, or wait for more. */
static int take_some(struct target *t, uint64_t deadline_ns)
{
	uint64_t until_ns = min_u64(clock_now_ns() + LOOK_NS, reception_deadline(t->reception));
	struct chan *chan;
	int r = 0;

	reception_work(t->reception);
	while (r == 0 && (chan = reception_take(t->reception, ARRIVAL_MULTIFD)))
		r = admit(t, chan);
	if (r < 0 || multifd_target_count(t->multifd) == t->m->start.parameters.multifd_channels)
		return r;
	/* A migd waits for an answer; all that another had to say may have been read by now. */
	if (t->hello.peer == PEER_MIGD && is_closed(t->chan))
		return merr_set(&t->err, -ENODATA, "the source closed the connection before all multifd channels were there");
	if (clock_now_ns() >= deadline_ns)
		return merr_set(&t->err, -ETIMEDOUT, "%u of %u multifd channels came within %d s: capability multifd and "
				"parameter multifd-channels must be the same on both sides",
				multifd_target_count(t->multifd), t->m->start.parameters.multifd_channels,
				MULTIFD_GATHER_TIMEOUT_MS / 1000);
	r = fd_wait(reception_fd(t->reception), POLLIN, t->m->cancel_fd, min_u64(until_ns, deadline_ns));
	return r == -ECANCELED ? merr_set(&t->err, r, "cancelled") : 0;
}

int multifd_gather(struct target *t)
{
	uint64_t deadline_ns = clock_now_ns() + MULTIFD_GATHER_TIMEOUT_MS * NS_PER_MS;
	int r = 0;

	if (!multifd_is_on(t->m)) {
		reception_work(t->reception);
		refuse_all(t, "and capability multifd is off here: turn it on on both sides");
		return 0;
	}
	t->multifd = multifd_target_free(t->multifd);
	r = open_set(t);
	while (r == 0 && multifd_target_count(t->multifd) < t->m->start.parameters.multifd_channels)
		r = take_some(t, deadline_ns);
	if (r == 0)
		refuse_all(t, "and all are there already");
	return r;
}
