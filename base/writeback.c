/* SPDX-License-Identifier: Apache-2.0 */
/* Writing a large file. */
#include "base/writeback.h"

#include <errno.h>
#include <fcntl.h>

#include "base/bytes.h"

/* Enough to keep a disk busy; twice as much can be on its way. */
#define STEP_BYTES (8 * MIB)

static int sync_range(int fd, uint64_t first, uint64_t end, unsigned int flags)
{
	if (first == end || sync_file_range(fd, (off_t)first, (off_t)(end - first), flags) == 0)
		return 0;
	return errno == EIO || errno == ENOSPC || errno == EDQUOT ? -errno : 0;
}

int writeback_wrote(struct writeback *w, int fd, uint64_t offset, uint64_t len)
{
	int r;

	w->first = w->bytes ? min_u64(w->first, offset) : offset;
	w->end = w->bytes ? max_u64(w->end, offset + len) : offset + len;
	w->bytes += len;
	if (w->bytes < STEP_BYTES)
		return 0;
	r = sync_range(fd, w->first, w->end, SYNC_FILE_RANGE_WRITE);
	if (r == 0)
		r = sync_range(fd, w->busy_first, w->busy_end, SYNC_FILE_RANGE_WAIT_BEFORE);
	w->busy_first = w->first;
	w->busy_end = w->end;
	w->bytes = 0;
	return r;
}
