/* SPDX-License-Identifier: Apache-2.0 */
/* What a guest starts from: the boot sector, and choosing among the sources. */
#include "vmm/boot.h"

#include <errno.h>

#include "vmm/machine.h"
#include "vmm/options.h"
#include "vmm/util.h"

#define SECTOR_GPA 0x7c00
#define SECTOR_LEN 512
#define FIRST_HARD_DISK 0x80	/* in DL */

int boot_sector_load(struct machine *m, struct boot_entry *ret)
{
	_cleanup_free_ uint8_t *data = NULL;
	size_t len;
	int r = read_file(m->opt->boot_path, SECTOR_LEN, &data, &len);
	if (r == 0)
		r = machine_store(m, SECTOR_GPA, data, len, "boot sector");
	if (r == 0)
		*ret = (struct boot_entry){ .rip = SECTOR_GPA, .rdx = FIRST_HARD_DISK };
	return r;
}

static int no_source(struct machine *m, struct boot_entry *ret)
{
	(void)m;
	(void)ret;
	return fail(-ENOENT, "the guest came from another host and this command line has nothing "
			     "to boot: give --boot-sector, --kernel or --payload with --incoming");
}

int boot_load(struct machine *m, struct boot_entry *ret)
{
	static int (*const load[])(struct machine *m, struct boot_entry *ret) = {
		[BOOT_NONE] = no_source,
		[BOOT_SECTOR] = boot_sector_load,
		[BOOT_LINUX] = boot_linux_load,
		[BOOT_PAYLOAD] = boot_payload_load,
	};
	return load[m->opt->boot](m, ret);
}
