/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Writing a large file so that what is not on the disk yet stays little: the final fsync is short, and whoever writes
 * goes as fast as the disk does. Left alone the kernel waits until a tenth of the memory is dirty, and then makes everybody
 * wait: measured here, 1 GiB came to the disk at 0.3 to 0.7 GB/s so, and at 2.4 with this.
 *
 * One a thread.
 */
#ifndef MIGD_BASE_WRITEBACK_H
#define MIGD_BASE_WRITEBACK_H

#include <stdint.h>

struct writeback {
	uint64_t first, end, bytes;	/* written, of which nothing was said yet */
	uint64_t busy_first, busy_end;	/* on its way to the disk */
};

/*
 * LEN bytes were written to the file FD at OFFSET. Now and then waits for what is on its way. 0, or -errno if the disk
 * could not take it (-EIO, -ENOSPC, -EDQUOT): it is said only once, here. What is no file on a disk does not matter.
 */
int writeback_wrote(struct writeback *w, int fd, uint64_t offset, uint64_t len);

#endif
