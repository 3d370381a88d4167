/* SPDX-License-Identifier: Apache-2.0 */
/* What the limits share: memory, connections, and the table of ways to move one through the other. */
#ifndef MIGD_BENCH_LIMITS_H
#define MIGD_BENCH_LIMITS_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define PAGE 4096U

struct memory {
	int fd;
	uint64_t offset; /* of its first byte in the file: a part of a larger one begins there */
	uint8_t *map;
	uint64_t len;
};

struct method {
	const char *name;
	const char *framing; /* "none": bare bytes; "pages": 8 bytes ahead of each page */
	/* Both return 0 or -errno, at the first failure; a stream that ends early is -EPIPE. */
	int (*send)(int sock, const struct memory *src);
	int (*receive)(int sock, const struct memory *dst);
};

extern const struct method methods[];
extern const size_t n_methods;

double clock_now(void); /* s, monotonic */

/* 0 or -errno. */
int read_exact(int fd, void *buf, size_t len);
int connect_loopback(int ret_socks[2]); /* the first has TCP_NODELAY */
int memory_open_fresh(struct memory *ret, uint64_t len);

void memory_close(struct memory *m);

int fault_main(const char *n_faults); /* limits-fault.c; NULL: as many as are good. Exit status */

#endif
