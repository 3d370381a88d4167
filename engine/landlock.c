/* SPDX-License-Identifier: Apache-2.0 */
/* Landlock without a rule: Documentation/userspace-api/landlock.rst. The numbers are here since headers may be older. */
#include "engine/landlock.h"

#include <errno.h>
#include <linux/landlock.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/cleanup.h"

#define BITS(first, last) (((2ULL << (last)) - 1) & ~((1ULL << (first)) - 1))

enum right_kind { FS, NET, SCOPE };

/* What each ABI added. */
static const struct {
	int abi;
	enum right_kind kind;
	uint64_t bits;
} added[] = {
	{ 1, FS, BITS(0, 12) },	 /* EXECUTE, WRITE_FILE, READ_FILE, READ_DIR, REMOVE_*, MAKE_* */
	{ 2, FS, BITS(13, 13) }, /* REFER */
	{ 3, FS, BITS(14, 14) }, /* TRUNCATE */
	{ 4, NET, BITS(0, 1) },	 /* BIND_TCP, CONNECT_TCP */
	{ 5, FS, BITS(15, 15) }, /* IOCTL_DEV */
	{ 6, SCOPE, BITS(0, 1) }, /* ABSTRACT_UNIX_SOCKET, SIGNAL */
};

struct landlock_rights landlock_rights(int abi)
{
	struct landlock_rights r = { 0 };
	uint64_t *const kinds[] = { [FS] = &r.fs, [NET] = &r.net, [SCOPE] = &r.scopes };

	for (size_t i = 0; i < ARRAY_SIZE(added); i++)
		if (added[i].abi <= abi)
			*kinds[added[i].kind] |= added[i].bits;
	return r;
}

int landlock_abi(void)
{
	int abi = (int)syscall(SYS_landlock_create_ruleset, NULL, 0, LANDLOCK_CREATE_RULESET_VERSION);

	return abi < 0 ? 0 : abi;
}

int landlock_forbid_all(int abi, struct merr *err)
{
	struct landlock_rights rights = landlock_rights(abi);
	_cleanup_close_ int fd = -1;

	fd = (int)syscall(SYS_landlock_create_ruleset, &rights, sizeof(rights), 0);
	if (fd < 0)
		return merr_set_errno(err, -errno, "sandbox: Landlock rules of ABI %d", abi);
	if (syscall(SYS_landlock_restrict_self, fd, 0) < 0)
		return merr_set_errno(err, -errno, "sandbox: Landlock");
	return 0;
}
