/* SPDX-License-Identifier: Apache-2.0 */
/* Asking the source for pages. */
#include "engine/request-sender.h"

#include <string.h>

#include "base/bytes.h"
#include "base/cleanup.h"
#include "engine/return-path.h"

void request_sender_init(struct request_sender *s)
{
	*s = (struct request_sender){ 0 };
	(void)pthread_mutex_init(&s->lock, NULL);
}

void request_sender_done(struct request_sender *s)
{
	(void)pthread_mutex_destroy(&s->lock);
}

void request_sender_use(struct request_sender *s, struct chan *chan)
{
	LOCK_SCOPE(&s->lock);

	s->chan = chan;
	s->last = NULL;
}

void request_sender_ask(struct request_sender *s, const struct ram_file *b, uint64_t page, uint64_t n)
{
	LOCK_SCOPE(&s->lock);
	uint8_t body[8 + 4 + 1 + ATTACH_STR_MAX];
	struct wcur w = wcur_of(body, sizeof(body));
	bool named = s->last == b;

	if (!s->chan)
		return;
	wcur_be64(&w, page * WIRE_PAGE_SIZE);
	wcur_be32(&w, (uint32_t)(n * WIRE_PAGE_SIZE));
	if (!named) {
		wcur_u8(&w, (uint8_t)strlen(b->name));
		wcur_bytes(&w, b->name, strlen(b->name));
	}
	if (!w.bad && rp_send(s->chan, named ? WIRE_RP_REQ_PAGES : WIRE_RP_REQ_PAGES_ID, body, w.len) == 0)
		s->last = b;
}
