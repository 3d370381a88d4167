/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The other side of the library in tests: a daemon on a control connection, a worker on a migration
 * channel.
 */
#ifndef MIGD_TESTS_GUEST_PEER_H
#define MIGD_TESTS_GUEST_PEER_H

#include <stdbool.h>
#include <stddef.h>

#include "attach/codec.h"
#include "attach/conn.h"
#include "attach/dirty-map.h"
#include "attach/handover.h"
#include "base/clock.h"

enum { PEER_SOURCE = 1, PEER_TARGET = 2 };

struct peer {
	int listen_fd;
	struct conn *control;
	struct conn *channel;
	struct attach_hello hello;
	int decision_fd;
	const struct decision_page *decision;
	unsigned int events[32]; /* seen so far, by kind */
	char last_text[ATTACH_STR_MAX + 1];
	uint64_t last_value;
	/* What DIRTY_START gave. */
	struct dirty_map maps[ATTACH_RAM_BLOCKS_MAX];
	size_t n_maps;
};

/* Listen at DIR/attach. Before the VM starts. */
void peer_init(struct peer *p, const char *dir);
void peer_done(struct peer *p);

/* Accept a VMM and answer its HELLO with EPOCH. */
void peer_accept(struct peer *p, uint32_t epoch);
/* Connect to a VMM that listens, and answer its HELLO. */
void peer_connect(struct peer *p, const char *path, uint32_t epoch);
void peer_drop_control(struct peer *p);

/* MIG_OPEN; returns what the library said. */
int peer_open(struct peer *p, uint8_t role);
/*
 * The same once the library has noticed the end of the channel before; fails the test if it says
 * no.
 */
void peer_must_open(struct peer *p, uint8_t role);
/* Close the channel: EOF for the library. */
void peer_hang_up(struct peer *p);

#define PEER_DEADLINE (clock_now_ns() + 20 * NS_PER_SEC)

/*
 * One request over the channel or the control connection; 0 or the errno of the error reply, its
 * text in p->last_text.
 */
int peer_handover(struct peer *p, uint16_t type, const uint8_t *id,
		  struct attach_handover_reply *ret);
int peer_loaded(struct peer *p, const uint8_t *id, uint8_t paused);
int peer_mig_pause(struct peer *p, const uint8_t *id, uint32_t deadline_ms,
		   struct attach_mig_pause_reply *ret);
int peer_plain(struct peer *p, struct conn *c, uint16_t type); /* EMPTY in, EMPTY out */
int peer_pause(struct peer *p, uint32_t deadline_ms);
int peer_resume(struct peer *p);
int peer_resolve(struct peer *p, const uint8_t *id, bool run);
void peer_query(struct peer *p, struct attach_query_reply *ret);
/* The library's handover state, by QUERY on the control connection. */
enum handover_state peer_state(struct peer *p);

/* DIRTY_START, with the maps of blocks of these sizes. */
int peer_dirty_start(struct peer *p, const uint64_t *n_pages, size_t n);
int peer_dirty_sync(struct peer *p);
int peer_dirty_clear(struct peer *p, uint32_t block, uint64_t first_page, const uint64_t *words,
		     size_t n_words);

/* STATE_SAVE: the memfd, the caller's. */
int peer_save(struct peer *p, int *ret_fd, struct attach_state_save_reply *ret);
int peer_load(struct peer *p, int fd, uint64_t len);

/* UFFD_OPEN with DEVICE or -1; ret->fd is the caller's. */
struct peer_uffd {
	int fd;
	bool existing;
	uint32_t n_vcpus, vcpu0_thread;
};
int peer_uffd_open(struct peer *p, uint8_t mode, int device, struct peer_uffd *ret);
/* RECEIVED_MAPS, of blocks of these sizes, in p->maps. */
int peer_received_maps(struct peer *p, const uint64_t *n_pages, size_t n);
int peer_memo_set(struct peer *p, const void *bytes, size_t len);
/* BYTES has ATTACH_MEMO_MAX. */
int peer_memo_get(struct peer *p, uint8_t *bytes, size_t *ret_len);

/* Read events on both connections until one of KIND was seen. */
void peer_wait_event(struct peer *p, enum attach_event kind);
/* Wait until the library is in STATE. */
void peer_wait_state(struct peer *p, enum handover_state state);

/* A temporary directory, removed with what is in it by tmp_dir_remove(). */
void tmp_dir_make(char path[64]);
void tmp_dir_remove(const char *path);

#endif
