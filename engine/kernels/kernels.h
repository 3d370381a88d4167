/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The two loops that look at every byte of guest memory, in one version for each width of the CPU's vectors.
 *
 * The best one that this CPU and kernel support is chosen once, at the first call of kernels_best(); there is no ifunc, and
 * no system call: it works in the sandbox. All versions give the same results; tests compare each with the scalar one. Any
 * thread.
 */
#ifndef MIGD_ENGINE_KERNELS_H
#define MIGD_ENGINE_KERNELS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define KERNELS_PAGE 4096U
#define KERNELS_DIFF_WORDS (KERNELS_PAGE / 64)

struct kernels {
	const char *name;	/* "scalar", "sse2", "avx2", "avx512bw" */
	bool (*is_supported)(void);

	/* True if the LEN bytes at P are all zero; any alignment and length. */
	bool (*is_zero)(const void *p, size_t len);

	/*
	 * Which bytes of page B are not those of page A: bit k of word w stands for byte 64 * w + k. Any alignment. False:
	 * none at all.
	 */
	bool (*diff)(const uint8_t *a, const uint8_t *b, uint64_t ret[KERNELS_DIFF_WORDS]);
};

/* All that were compiled in, the widest first, the scalar one last; NULL ends it. Some may not be supported here. */
const struct kernels *const *kernels_all(void);

/* The widest that is supported. */
const struct kernels *kernels_best(void);

/* Each is_zero() begins with a look at this much: a page with contents nearly always shows them there. */
#define KERNELS_GLANCE 64U

extern const struct kernels kernels_scalar;
#ifdef __x86_64__
extern const struct kernels kernels_sse2, kernels_avx2, kernels_avx512bw;
#endif

#endif
