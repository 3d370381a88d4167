/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What keeps a guest from moving to another VM: a list, bounded, of what differs, how it is on either side, and what to
 * do about it. Made where the sides are compared, carried to the source, and shown to people and programs.
 */
#ifndef MIGD_ATTACH_MISMATCH_H
#define MIGD_ATTACH_MISMATCH_H

#include <stdbool.h>

#include "attach/proto.h"
#include "base/bytes.h"
#include "base/err.h"

struct mismatches {
	uint32_t found; /* n, and those that there was no room for */
	uint32_t n;
	struct attach_mismatch list[ATTACH_MISMATCHES_MAX];
};

/*
 * Add one, unless the same is there already. Texts are copied, cut to ATTACH_STR_MAX bytes, and what is not printable ASCII
 * becomes '?'.
 */
void mismatch_add(struct mismatches *m, const char *subject, const char *source, const char *target,
		  const char *advice);

/* A text of mismatch_add() with values in it; it lives as long as the block it is written in. */
struct mismatch_text {
	char s[ATTACH_STR_MAX + 1];
};
const char *mismatch_format(struct mismatch_text *t, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));
#define MISMATCH_TEXT(...) mismatch_format(&(struct mismatch_text){ { 0 } }, __VA_ARGS__)

/* True for what mismatch_add() makes: whatever came from elsewhere has to be checked. */
bool mismatch_is_sound(const struct attach_mismatch *mm);

/* As an attach body of type MISMATCHES. Encode: -EMSGSIZE. Decode, hostile input: -EBADMSG with ERR. */
int mismatches_encode(struct wcur *w, const struct mismatches *m);
int mismatches_decode(struct rcur *c, struct mismatches *ret, struct merr *err);

/*
 * 0 if there is none; else -EINVAL with all of them in ERR, as far as it has room, and how many more there are. TARGET_IS:
 * "here", or where else the target is, seen by the reader.
 */
int mismatches_fail(const struct mismatches *m, const char *target_is, struct merr *err);

#endif
