/* SPDX-License-Identifier: Apache-2.0 */
/* One VM with its daemon and worker, as most tests want it. */
#ifndef MIGD_TESTS_GUEST_FIXTURE_H
#define MIGD_TESTS_GUEST_FIXTURE_H

#include <string.h>
#include <unistd.h>

#include "peer.h"
#include "vm.h"

struct fixture {
	char dir[64];
	struct peer peer;
	struct vm vm;
};

static const uint8_t id_a[ATTACH_ID_LEN] = { 0xa, 1, 2, 3 };
static const uint8_t id_b[ATTACH_ID_LEN] = { 0xb, 1, 2, 3 };

static inline void fixture_begin(struct fixture *f, const struct vm_options *o)
{
	struct vm_options with_dir = *o;

	memset(f, 0, sizeof(*f));
	tmp_dir_make(f->dir);
	peer_init(&f->peer, f->dir);
	with_dir.dir = f->dir;
	if (!with_dir.name)
		with_dir.name = "vm";
	vm_start(&f->vm, &with_dir);
	peer_accept(&f->peer, 1);
}

static inline void fixture_end(struct fixture *f)
{
	vm_end(&f->vm);
	peer_done(&f->peer);
	tmp_dir_remove(f->dir);
}

/* Fail with the library's words. */
#define MUST(f, call)                                                                              \
	do {                                                                                       \
		if ((call) < 0)                                                                    \
			fail_msg("%s: %s", #call, (f)->peer.last_text);                            \
	} while (0)

/* The source up to PAUSED (or only PRECOPY). */
static inline void fixture_precopy(struct fixture *f, const uint8_t *id)
{
	static const uint64_t n_pages[] = { VM_RAM_LEN / VM_PAGE };

	peer_must_open(&f->peer, PEER_SOURCE);
	MUST(f, peer_handover(&f->peer, ATTACH_HANDOVER_BEGIN, id, NULL));
	MUST(f, peer_dirty_start(&f->peer, n_pages, 1));
}

static inline void fixture_paused(struct fixture *f, const uint8_t *id)
{
	fixture_precopy(f, id);
	MUST(f, peer_mig_pause(&f->peer, id, 5000, NULL));
}

/* Move SRC's memory and state into DST (INCOMING begun here) up to LOADED. SRC is PAUSED. */
static inline void fixture_transfer(struct fixture *src, struct fixture *dst, const uint8_t *id,
				    uint8_t paused)
{
	struct attach_state_save_reply rep;
	int fd = -1;

	MUST(src, peer_save(&src->peer, &fd, &rep));
	if (!dst->peer.channel)
		peer_must_open(&dst->peer, PEER_TARGET);
	MUST(dst, peer_handover(&dst->peer, ATTACH_HANDOVER_BEGIN, id, NULL));
	memcpy(dst->vm.ram, src->vm.ram, VM_RAM_LEN);
	MUST(dst, peer_load(&dst->peer, fd, rep.len));
	(void)close(fd);
	MUST(dst, peer_loaded(&dst->peer, id, paused));
}

#endif
