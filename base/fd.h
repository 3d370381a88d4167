/* SPDX-License-Identifier: Apache-2.0 */
/* Descriptors: whole reads and writes, flags, memfds, wake-ups. */
#ifndef MIGD_BASE_FD_H
#define MIGD_BASE_FD_H

#include <dirent.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* Read or write exactly LEN bytes, restarting after signals. 0, or -errno; -ENODATA on early EOF. */
int fd_read_full(int fd, void *buf, size_t len);
int fd_write_full(int fd, const void *buf, size_t len);
int fd_pread_full(int fd, void *buf, size_t len, uint64_t offset);
int fd_pwrite_full(int fd, const void *buf, size_t len, uint64_t offset);

int fd_set_nonblock(int fd, bool on);
int fd_set_cloexec(int fd, bool on);

/*
 * The next connection of the listening socket FD, close-on-exec and not blocking. -EAGAIN: there is none; or -errno, of which
 * none but a look later helps: descriptors or memory are used up, and the connection still waits.
 */
int fd_accept(int fd);

/* The names in the directory DIR, from the first on, however often it is asked; NULL: it cannot be read. To closedir(). */
DIR *fd_listing(int dir);

/* A close-on-exec duplicate, or -errno. */
int fd_dup(int fd);

/* A close-on-exec memfd of LEN bytes, sealed against shrinking and growing; or -errno. */
int fd_memfd(const char *name, uint64_t len);

/*
 * Wait until FD has one of EVENTS (poll's), CANCEL_FD (-1: none) becomes readable, or DEADLINE_NS
 * (monotonic) passes. Returns the revents of FD, -ECANCELED, -ETIMEDOUT or -errno. CANCEL_FD wins.
 */
int fd_wait(int fd, short events, int cancel_fd, uint64_t deadline_ns);

/* eventfd helpers: a wake-up that stays until drained. */
int wake_new(void);
void wake_raise(int fd);
void wake_drain(int fd);

#endif
