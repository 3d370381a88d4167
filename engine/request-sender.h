/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Asking the source for pages that are waited for: REQ_PAGES_ID and REQ_PAGES on the return path (WIRE.md 6.2). Any thread; the
 * channel may be gone meanwhile: what is asked then is forgotten here, and asked again over the next one by
 * fault_service_ask_again().
 */
#ifndef MIGD_ENGINE_REQUEST_SENDER_H
#define MIGD_ENGINE_REQUEST_SENDER_H

#include <pthread.h>

#include "engine/ram.h"
#include "transport/chan.h"

struct request_sender {
	pthread_mutex_t lock;
	/* Under `lock`. */
	struct chan *chan;		/* borrowed; NULL: none */
	const struct ram_file *last;	/* the block that was named last on it */
};

void request_sender_init(struct request_sender *s);
void request_sender_done(struct request_sender *s);

/* From here on over this one; NULL: none. Afterwards nobody writes to the one before. */
void request_sender_use(struct request_sender *s, struct chan *chan);

/* N pages from PAGE on of B. A failure shows on the channel's reading side. */
void request_sender_ask(struct request_sender *s, const struct ram_file *b, uint64_t page, uint64_t n);

#endif
