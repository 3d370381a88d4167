/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which pages were sent and are not known to have arrived: after a lost connection they are sent again. A page that arrived, was
 * written, and whose new content was lost on its way must not pass for received.
 *
 * The destination acknowledges by answering numbered questions, which count what lies before them in the stream: PINGs between
 * sections, and marks within RAM's (WIRE_RAM_MARK), so that a broken pass over a large guest goes on near where it broke. Pages
 * of one pass go in ascending order, so a mark's place tells which they are. Holes sent as zeros count like any others.
 *
 * Migration thread. The bitmaps are the blocks' own (ram_file.unacked).
 */
#ifndef MIGD_ENGINE_UNACKED_H
#define MIGD_ENGINE_UNACKED_H

#include "engine/ram.h"

/* Marks that are not answered; more than that many are not asked. */
#define UNACKED_MARKS_MAX 64U

struct unacked_place {
	size_t block;
	uint64_t page;
};

struct unacked {
	struct ram *ram;	/* borrowed; NULL: nothing is kept */
	uint32_t *numbers;	/* of the last question, marks and PINGs alike; the source's */
	uint64_t bytes;		/* sent since the last mark */
	uint64_t look_bytes;	/* from there on the clock is looked at */
	uint64_t marked_ns;	/* when the last mark was asked */
	struct unacked_place from;	/* in this pass: what lies before is acknowledged */
	unsigned int n_marks;
	struct {
		uint32_t number;
		struct unacked_place at;
	} marks[UNACKED_MARKS_MAX];	/* the oldest first */
};

/* Keep account from here on. RAM and NUMBERS are borrowed. -ENOMEM. */
int unacked_start(struct unacked *u, struct ram *ram, uint32_t *numbers);

/* A pass begins. */
void unacked_pass(struct unacked *u);

/* N pages of B from PAGE on are about to be sent. */
void unacked_sent(struct unacked *u, struct ram_file *b, uint64_t page, uint64_t n);

/* True: now and then a mark is due here, before PAGE of B; its number is in *RET. */
bool unacked_mark(struct unacked *u, const struct ram_file *b, uint64_t page, uint32_t *ret);

/* Question NUMBER was answered; ALL: nothing was sent since it was asked. */
void unacked_answered(struct unacked *u, uint32_t number, bool all);

/* The connection is lost: move all that is not acknowledged into `todo`; how many pages that were not in it. */
uint64_t unacked_take_back(struct unacked *u);

#endif
