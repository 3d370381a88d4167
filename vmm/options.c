/* SPDX-License-Identifier: Apache-2.0 */
/* The command line: one row an option, from which come getopt's table, the parser and --help. */
#include "vmm/options.h"

#include <ctype.h>
#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <string.h>

#include "vmm/options-value.h"
#include "vmm/payload.h"
#include "vmm/util.h"

#define NAME_MAX_BYTES 127
#define DISK_ID_MAX 20		/* VIRTIO_BLK_ID_BYTES */
#define MEMORY_MIN (16 * MIB)	/* below this no boot source fits */
#define MEMORY_MAX (16384 * GIB)
#define PAGE 4096
#define HUGE_PAGE (2 * MIB)
#define VAULT_MAX (64 * GIB)

struct option_row {
	const char *name;
	const char *value;	/* what --help calls it; NULL: takes none */
	int (*set)(struct options *opt, const char *option, const char *value);
	const char *help;
};

static int set_name(struct options *opt, const char *option, const char *value)
{
	size_t len = strlen(value);
	if (len == 0 || len > NAME_MAX_BYTES)
		return fail(-EINVAL, "--%s: a name has 1 to %d bytes, this one has %zu", option,
			    NAME_MAX_BYTES, len);
	for (const char *c = value; *c; c++)
		if (!isprint((unsigned char)*c))
			return fail(-EINVAL, "--%s: byte %td of the name is not printable", option,
				    c - value);
	opt->name = value;
	return 0;
}

static int set_uuid(struct options *opt, const char *option, const char *value)
{
	return value_uuid(option, value, opt->uuid);
}

static int set_attach(struct options *opt, const char *option, const char *value)
{
	(void)option;
	opt->attach_path = value;
	return 0;
}

static int set_attach_listen(struct options *opt, const char *option, const char *value)
{
	(void)option;
	opt->listen_path = value;
	return 0;
}

static int set_memory(struct options *opt, const char *option, const char *value)
{
	return value_size(option, value, &opt->memory_bytes);
}

static int set_memory_id(struct options *opt, const char *option, const char *value)
{
	size_t len = strlen(value);
	if (len == 0 || len > NAME_MAX_BYTES)
		return fail(-EINVAL, "--%s: a name has 1 to %d bytes, this one has %zu", option,
			    NAME_MAX_BYTES, len);
	opt->memory_id = value;
	return 0;
}

static int set_machine(struct options *opt, const char *option, const char *value)
{
	opt->ram_only = strcmp(value, "none") == 0;
	if (!opt->ram_only && strcmp(value, "pc") != 0)
		return fail(-EINVAL, "--%s: there is no machine '%s'; there are pc and none", option, value);
	if (opt->ram_only)
		opt->n_cpus = 0;
	return 0;
}

static int set_cpus(struct options *opt, const char *option, const char *value)
{
	uint64_t n;
	int r = value_number(option, value, 1, OPTIONS_CPUS_MAX, &n);
	if (r == 0)
		opt->n_cpus = (unsigned int)n;
	return r;
}

static int set_incoming(struct options *opt, const char *option, const char *value)
{
	(void)option;
	(void)value;
	opt->incoming = true;
	return 0;
}

static int set_cpr_listen(struct options *opt, const char *option, const char *value)
{
	(void)option;
	opt->cpr_path = value;
	return 0;
}

static int set_boot(struct options *opt, const char *option, enum boot_kind kind)
{
	if (opt->boot != BOOT_NONE)
		return fail(-EINVAL,
			    "--%s: give one of --boot-sector, --kernel and --payload, once", option);
	opt->boot = kind;
	return 0;
}

static int set_boot_sector(struct options *opt, const char *option, const char *value)
{
	opt->boot_path = value;
	return set_boot(opt, option, BOOT_SECTOR);
}

static int set_kernel(struct options *opt, const char *option, const char *value)
{
	opt->boot_path = value;
	return set_boot(opt, option, BOOT_LINUX);
}

static int set_initrd(struct options *opt, const char *option, const char *value)
{
	(void)option;
	opt->initrd_path = value;
	return 0;
}

static int set_append(struct options *opt, const char *option, const char *value)
{
	(void)option;
	opt->cmdline = value;
	return 0;
}

static int set_payload(struct options *opt, const char *option, const char *value)
{
	opt->payload = value;
	return set_boot(opt, option, BOOT_PAYLOAD);
}

static int set_payload_arg(struct options *opt, const char *option, const char *value)
{
	const char *eq = strchr(value, '=');
	if (!eq)
		return fail(-EINVAL, "--%s: '%s' is not KEY=VALUE", option, value);
	size_t key_len = (size_t)(eq - value);
	if (key_len == 11 && strncmp(value, "working-set", key_len) == 0)
		return value_size(option, eq + 1, &opt->working_set_bytes);
	if (key_len == 4 && strncmp(value, "rate", key_len) == 0)
		return value_number(option, eq + 1, 0, UINT64_MAX, &opt->pages_per_second);
	if (key_len == 4 && strncmp(value, "arg", 3) == 0 && value[3] >= '0' &&
	    value[3] < '0' + OPTIONS_PAYLOAD_ARGS)
		return value_number(option, eq + 1, 0, UINT64_MAX,
				    &opt->payload_arg[value[3] - '0']);
	return fail(-EINVAL, "--%s: no key '%.*s'; there are working-set, rate and arg0 to arg7",
		    option, (int)key_len, value);
}

static int set_serial(struct options *opt, const char *option, const char *value)
{
	(void)option;
	opt->serial = value;
	return 0;
}

/* FILE[,id=ID]; a comma in the file's name cannot be written. */
static int set_disk(struct options *opt, const char *option, const char *value)
{
	if (opt->n_disks == OPTIONS_DISKS_MAX)
		return fail(-EINVAL, "--%s: there can be at most %d disks", option,
			    OPTIONS_DISKS_MAX);
	char *copy = strdup(value);
	if (!copy)
		return fail(-ENOMEM, "--%s: out of memory", option);
	struct disk_options *disk = &opt->disks[opt->n_disks++];
	disk->path = copy;
	disk->id = "";
	char *comma = strchr(copy, ',');
	if (comma) {
		*comma = '\0';
		if (strncmp(comma + 1, "id=", 3) != 0)
			return fail(-EINVAL, "--%s: '%s' is not FILE[,id=ID]", option, value);
		disk->id = comma + 4;
	}
	if (!*copy)
		return fail(-EINVAL, "--%s: '%s' names no file", option, value);
	if (strlen(disk->id) > DISK_ID_MAX)
		return fail(-EINVAL, "--%s: an id has at most %d bytes, '%s' has more", option,
			    DISK_ID_MAX, disk->id);
	return 0;
}

static int set_net(struct options *opt, const char *option, const char *value)
{
	if (opt->n_nets == OPTIONS_NETS_MAX)
		return fail(-EINVAL, "--%s: there can be at most %d interfaces", option,
			    OPTIONS_NETS_MAX);
	int r = net_options_parse(option, value, opt->n_nets, &opt->nets[opt->n_nets]);
	if (r == 0)
		opt->n_nets++;
	return r;
}

/* SIZE[,ready-after=CHUNKS] */
static int set_vault(struct options *opt, const char *option, const char *value)
{
	static const char key[] = ",ready-after=";
	const char *comma = strchr(value, ',');
	uint64_t chunks = 0;
	char *size = strndup(value, comma ? (size_t)(comma - value) : strlen(value));
	if (!size)
		return fail(-ENOMEM, "--%s: out of memory", option);
	int r = value_size(option, size, &opt->vault.bytes);
	free(size);
	if (r == 0 && comma && strncmp(comma, key, sizeof(key) - 1) != 0)
		return fail(-EINVAL, "--%s: '%s' is not SIZE[,ready-after=CHUNKS]", option, value);
	if (r == 0 && comma)
		r = value_number(option, comma + sizeof(key) - 1, 0, UINT32_MAX, &chunks);
	if (r == 0 && (opt->vault.bytes == 0 || opt->vault.bytes % PAGE || opt->vault.bytes > VAULT_MAX))
		return fail(-EINVAL, "--%s: %llu bytes are not 4 KiB to 64 GiB in steps of 4 KiB", option,
			    (unsigned long long)opt->vault.bytes);
	opt->vault.ready_after = (uint32_t)chunks;
	return r;
}

static int set_dongle(struct options *opt, const char *option, const char *value)
{
	(void)option;
	(void)value;
	opt->dongle = true;
	return 0;
}

static int set_memory_file(struct options *opt, const char *option, const char *value)
{
	(void)option;
	opt->memory_file = value;
	return 0;
}

static int set_poison(struct options *opt, const char *option, const char *value)
{
	opt->has_poison = true;
	return value_size(option, value, &opt->poison_gpa);
}

static int set_memory_shared(struct options *opt, const char *option, const char *value)
{
	(void)option;
	(void)value;
	opt->memory_shared = true;
	return 0;
}

static int set_hugetlb(struct options *opt, const char *option, const char *value)
{
	(void)option;
	(void)value;
	opt->hugetlb = true;
	return 0;
}

static int set_dirty_ring(struct options *opt, const char *option, const char *value)
{
	uint64_t n;
	int r = value_number(option, value, 1, 65536, &n);
	if (r < 0)
		return r;
	if (n & (n - 1))
		return fail(-EINVAL, "--%s: %llu is not a power of two", option,
			    (unsigned long long)n);
	opt->dirty_ring_entries = (uint32_t)n;
	return 0;
}

static int print_help(struct options *opt, const char *option, const char *value);

static int print_version(struct options *opt, const char *option, const char *value)
{
	(void)opt;
	(void)option;
	(void)value;
	puts("migd-vmm " MIGD_VMM_VERSION);
	return OPTIONS_DONE;
}

static const struct option_row rows[] = {
	{ "name", "NAME", set_name, "the guest's name, unique on this host" },
	{ "uuid", "UUID", set_uuid, "the guest's UUID" },
	{ "attach", "PATH", set_attach, "migd's attach socket; connected to until it is there" },
	{ "attach-listen", "PATH", set_attach_listen, "make a socket for migd's guest-attach" },
	{ "memory", "SIZE", set_memory, "guest RAM: bytes, or with a suffix K, M, G or T" },
	{ "memory-id", "NAME", set_memory_id, "what the stream calls it (ram)" },
	{ "machine", "pc|none", set_machine, "none: RAM only, as qemu -M none: no vCPU, no device" },
	{ "cpus", "N", set_cpus, "vCPUs (1)" },
	{ "incoming", NULL, set_incoming, "wait for a guest to arrive instead of booting one" },
	{ "cpr-listen", "PATH", set_cpr_listen,
	  "with --incoming: take over the RAM of the VMM that has the guest now" },
	{ "boot-sector", "FILE", set_boot_sector, "boot these 512 bytes in real mode" },
	{ "kernel", "BZIMAGE", set_kernel, "boot a Linux kernel" },
	{ "initrd", "FILE", set_initrd, "its initial RAM disk" },
	{ "append", "STRING", set_append, "its command line" },
	{ "payload", "NAME", set_payload, "run a built-in guest program; --help lists them" },
	{ "payload-arg", "KEY=VALUE", set_payload_arg,
	  "working-set=SIZE, rate=PAGES/S, arg0=N ... arg7=N" },
	{ "serial", "FILE|stdio", set_serial, "where the serial port goes (nowhere)" },
	{ "disk", "FILE[,id=ID]", set_disk, "a virtio disk; may be given several times" },
	{ "net", "tap=IFNAME[,mac=MAC][,id=ID]", set_net, "a virtio network interface on a tap" },
	{ "vault", "SIZE[,ready-after=CHUNKS]", set_vault,
	  "a device with so much state of its own, sent while the guest runs" },
	{ "dongle", NULL, set_dongle, "a device that the guest lets go of before it is migrated" },
	{ "memory-file", "PATH", set_memory_file, "make guest RAM this file, on a tmpfs" },
	{ "memory-shared", NULL, set_memory_shared,
	  "source and target have the same memory file (x-ignore-shared)" },
	{ "poison", "GPA", set_poison, "the page of memory there is damaged, for tests: 32M" },
	{ "hugetlb", NULL, set_hugetlb, "guest RAM in 2 MiB huge pages" },
	{ "dirty-ring", "ENTRIES", set_dirty_ring, "track writes by KVM's dirty ring, not its log" },
	{ "help", NULL, print_help, "print this" },
	{ "version", NULL, print_version, "print the version" },
};

static int print_help(struct options *opt, const char *option, const char *value)
{
	(void)opt;
	(void)option;
	(void)value;
	puts("usage: migd-vmm --name NAME (--attach PATH | --attach-listen PATH) --memory SIZE\n"
	     "                (--boot-sector FILE | --kernel BZIMAGE | --payload NAME | --machine none |\n"
	     "                 --incoming)\n"
	     "                [OPTION...]\n"
	     "Runs a KVM guest that migd can migrate.\n");
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		char left[48];
		(void)snprintf(left, sizeof(left), "--%s%s%s", rows[i].name,
			       rows[i].value ? " " : "", rows[i].value ? rows[i].value : "");
		printf("  %-24s %s\n", left, rows[i].help);
	}
	fputs("\nPayloads:", stdout);
	for (const char *const *name = payload_names(); *name; name++)
		printf(" %s", *name);
	puts("\n\nSIGUSR1 wakes a suspended guest; SIGTERM and SIGINT end it.\n"
	     "Exit status: 0 powered off, stopped by a signal, or moved elsewhere; 1 failed; 2 wrong\n"
	     "usage; 3 the incoming guest will not arrive; else what the guest wrote to its exit port.");
	return OPTIONS_DONE;
}

/* What no single option can check. */
static int check_together(const struct options *opt)
{
	if (!opt->name)
		return fail(-EINVAL, "--name is missing");
	if (!opt->attach_path == !opt->listen_path)
		return fail(-EINVAL, "give either --attach or --attach-listen");
	if (opt->memory_bytes == 0)
		return fail(-EINVAL, "--memory is missing");
	uint64_t unit = opt->hugetlb ? HUGE_PAGE : PAGE;
	if (opt->memory_bytes < MEMORY_MIN || opt->memory_bytes > MEMORY_MAX ||
	    opt->memory_bytes % unit)
		return fail(-EINVAL, "--memory: %llu bytes are not %llu MiB or more in steps of %llu KiB",
			    (unsigned long long)opt->memory_bytes, MEMORY_MIN / MIB,
			    (unsigned long long)(unit / KIB));
	if (opt->ram_only && (opt->boot != BOOT_NONE || opt->n_cpus || opt->n_disks || opt->serial))
		return fail(-EINVAL, "--machine none has memory only: nothing to boot, no vCPUs, disks or serial port");
	if (opt->boot == BOOT_NONE && !opt->incoming && !opt->ram_only)
		return fail(-EINVAL, "nothing to run: give --boot-sector, --kernel, --payload or --incoming");
	if (opt->boot != BOOT_LINUX && (opt->initrd_path || opt->cmdline[0]))
		return fail(-EINVAL, "--initrd and --append need --kernel");
	if (opt->memory_shared && !opt->memory_file)
		return fail(-EINVAL, "--memory-shared needs --memory-file");
	if (opt->hugetlb && opt->memory_file)
		return fail(-EINVAL, "--hugetlb and --memory-file exclude each other");
	if (opt->n_disks + opt->n_nets > OPTIONS_VIRTIO_MAX)
		return fail(-EINVAL, "--disk and --net: there can be at most %d together",
			    OPTIONS_VIRTIO_MAX);
	if (opt->cpr_path && !opt->incoming)
		return fail(-EINVAL, "--cpr-listen needs --incoming");
	if (opt->cpr_path && (opt->hugetlb || opt->memory_file))
		return fail(-EINVAL, "--cpr-listen excludes --hugetlb and --memory-file: the memory comes from "
				     "the VMM that has the guest now");
	const uint8_t *image;
	size_t len;
	if (opt->boot == BOOT_PAYLOAD && payload_find(opt->payload, &image, &len) < 0)
		return fail(-ENOENT, "--payload: there is none called '%s'; --help lists them",
			    opt->payload);
	return 0;
}

static int parse_all(struct options *opt, int argc, char **argv)
{
	struct option longopts[ARRAY_SIZE(rows) + 1] = { 0 };
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		longopts[i].name = rows[i].name;
		longopts[i].has_arg = rows[i].value ? required_argument : no_argument;
	}
	optind = 0; /* start anew: tests parse more than once */
	opterr = 0;
	int i, c;
	while ((c = getopt_long(argc, argv, ":", longopts, &i)) != -1) {
		if (c == ':')
			return fail(-EINVAL, "%s needs a value", argv[optind - 1]);
		if (c != 0)
			return fail(-EINVAL, "unknown option '%s'; --help lists them",
				    argv[optind - 1]);
		int r = rows[i].set(opt, rows[i].name, optarg);
		if (r != 0)
			return r;
	}
	if (optind < argc)
		return fail(-EINVAL, "'%s' belongs to no option", argv[optind]);
	int r = check_together(opt);
	return r < 0 ? r : OPTIONS_RUN;
}

int options_parse(struct options *ret, int argc, char **argv)
{
	struct options opt = { .n_cpus = 1, .cmdline = "", .memory_id = "ram" };
	int r = parse_all(&opt, argc, argv);
	if (r == OPTIONS_RUN)
		*ret = opt;
	else
		options_done(&opt);
	return r;
}

void options_done(struct options *opt)
{
	for (unsigned int i = 0; i < opt->n_disks; i++)
		free((char *)opt->disks[i].path);
	opt->n_disks = 0;
}
