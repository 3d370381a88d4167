/* SPDX-License-Identifier: Apache-2.0 */
/* Command lines: what is wrong with each is said, and what is right is understood. */
/* LIBS: migd_vmm_core migd_guest_static */
/* LABELS: quick */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

#include "vmm/options.h"

#define ARGS_MAX 48

/* Parse "migd-vmm" and the words of LINE; what was said on stderr in TEXT. */
static int parse(struct options *opt, const char *line, char *text, size_t size)
{
	static char words[512];
	char *argv[ARGS_MAX] = { (char *)"migd-vmm" }, *save;
	int argc = 1;
	assert_true(strlen(line) < sizeof(words));
	strcpy(words, line);
	for (char *w = strtok_r(words, " ", &save); w; w = strtok_r(NULL, " ", &save))
		argv[argc++] = w;
	FILE *said = tmpfile();
	assert_non_null(said);
	int old = dup(STDERR_FILENO);
	(void)fflush(stderr);
	(void)dup2(fileno(said), STDERR_FILENO);
	int r = options_parse(opt, argc, argv);
	(void)fflush(stderr);
	(void)dup2(old, STDERR_FILENO);
	(void)close(old);
	rewind(said);
	text[fread(text, 1, size - 1, said)] = '\0';
	(void)fclose(said);
	return r;
}

#define GOOD "--name n --attach /s --memory 64M "

static void test_what_is_wrong_is_said(void **state)
{
	static const struct {
		const char *line, *says;
	} rows[] = {
		{ "", "--name is missing" },
		{ "--name n --memory 64M --payload idle", "give either --attach or --attach-listen" },
		{ GOOD "--attach-listen /t --payload idle", "give either --attach or --attach-listen" },
		{ "--name n --attach /s --payload idle", "--memory is missing" },
		{ GOOD, "nothing to run" },
		{ GOOD "--machine q35", "there are pc and none" },
		{ GOOD "--machine none --payload idle", "--machine none has memory only" },
		{ GOOD "--machine none --cpus 2", "--machine none has memory only" },
		{ GOOD "--payload nosuch", "there is none called 'nosuch'" },
		{ GOOD "--payload idle --boot-sector f", "--boot-sector: give one of" },
		{ GOOD "--payload idle --initrd f", "need --kernel" },
		{ GOOD "--payload idle --cpus 0", "--cpus: 0 is not between 1 and 64" },
		{ GOOD "--payload idle --cpus two", "--cpus: 'two' is not a number" },
		{ GOOD "--payload idle --cpus", "--cpus needs a value" },
		{ GOOD "--payload idle --memory 4X", "--memory: 'X' after the size '4X'" },
		{ GOOD "--payload idle --memory -4M", "--memory: '-4M' is not a size" },
		{ GOOD "--payload idle --memory 99999999999T", "too large" },
		{ GOOD "--payload idle --memory 1M", "are not 16 MiB or more" },
		{ GOOD "--payload idle --memory 67108865", "in steps of 4 KiB" },
		{ GOOD "--payload idle --memory 65M --hugetlb", "in steps of 2048 KiB" },
		{ GOOD "--payload idle --hugetlb --memory-file f", "exclude each other" },
		{ GOOD "--payload idle --cpr-listen /c", "--cpr-listen needs --incoming" },
		{ GOOD "--incoming --cpr-listen /c --memory-file f", "--cpr-listen excludes" },
		{ GOOD "--incoming --cpr-listen /c --hugetlb", "--cpr-listen excludes" },
		{ GOOD "--payload idle --memory-shared", "--memory-shared needs --memory-file" },
		{ GOOD "--payload idle --dirty-ring 1000", "1000 is not a power of two" },
		{ GOOD "--payload idle --payload-arg speed=1", "no key 'speed'" },
		{ GOOD "--payload idle --payload-arg arg8=1", "no key 'arg8'" },
		{ GOOD "--payload idle --payload-arg rate", "'rate' is not KEY=VALUE" },
		{ GOOD "--payload idle --uuid 1234", "--uuid: '1234' is not of the form" },
		{ GOOD "--payload idle --disk f,bus=ide", "'f,bus=ide' is not FILE[,id=ID]" },
		{ GOOD "--payload idle --disk ,id=a", "names no file" },
		{ GOOD "--payload idle --disk f,id=123456789012345678901", "at most 20 bytes" },
		{ GOOD "--payload idle --net mac=02:00:00:00:00:01", "is not tap=IFNAME[,mac=MAC][,id=ID]" },
		{ GOOD "--payload idle --net tap=", "tap '' has not 1 to 15 bytes" },
		{ GOOD "--payload idle --net tap=0123456789abcdef", "has not 1 to 15 bytes" },
		{ GOOD "--payload idle --net tap=t,mac=02:00:00:00:00", "is not of the form" },
		{ GOOD "--payload idle --net tap=t,mac=03:00:00:00:00:01", "multicast" },
		{ GOOD "--payload idle --net tap=t,bridge=b", "'bridge=b' is none of" },
		{ GOOD "--payload idle --net tap=a --net tap=b --net tap=c --net tap=d --disk e --disk f --disk g --disk h",
		  "at most 7 together" },
		{ GOOD "--payload idle --vault 1000", "1000 bytes are not 4 KiB to 64 GiB" },
		{ GOOD "--payload idle --vault 0", "0 bytes are not 4 KiB to 64 GiB" },
		{ GOOD "--payload idle --vault 1M,slow", "is not SIZE[,ready-after=CHUNKS]" },
		{ GOOD "--payload idle --vault 1M,ready-after=x", "'x' is not a number" },
		{ GOOD "--payload idle --bogus", "unknown option '--bogus'" },
		{ GOOD "--payload idle stray", "'stray' belongs to no option" },
	};
	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct options opt;
		char text[1024];
		int r = parse(&opt, rows[i].line, text, sizeof(text));
		if (r >= 0 || !strstr(text, rows[i].says))
			fail_msg("'%s': returned %d and said '%s', not '%s'", rows[i].line, r, text,
				 rows[i].says);
	}
}

static void test_all_options_are_understood(void **state)
{
	struct options opt;
	char text[1024];
	(void)state;
	int r = parse(&opt,
		      "--name web --uuid 01234567-89ab-cdef-0123-456789ABCDEF --attach-listen /l "
		      "--memory 4G --cpus 3 --incoming --kernel k --initrd i --append quiet "
		      "--serial stdio --disk a,id=root --disk b --memory-file /m --dirty-ring 4096",
		      text, sizeof(text));
	assert_int_equal(r, OPTIONS_RUN);
	assert_string_equal(opt.name, "web");
	assert_int_equal(opt.uuid[0], 0x01);
	assert_int_equal(opt.uuid[15], 0xef);
	assert_null(opt.attach_path);
	assert_string_equal(opt.listen_path, "/l");
	assert_true(opt.memory_bytes == 4ULL << 30);
	assert_int_equal(opt.n_cpus, 3);
	assert_true(opt.incoming);
	assert_int_equal(opt.boot, BOOT_LINUX);
	assert_string_equal(opt.cmdline, "quiet");
	assert_int_equal(opt.n_disks, 2);
	assert_string_equal(opt.disks[0].path, "a");
	assert_string_equal(opt.disks[0].id, "root");
	assert_string_equal(opt.disks[1].path, "b");
	assert_int_equal(opt.dirty_ring_entries, 4096);
	options_done(&opt);
}

static void test_payload_arguments(void **state)
{
	struct options opt;
	char text[1024];
	(void)state;
	int r = parse(&opt,
		      GOOD "--payload writer --payload-arg working-set=1M --payload-arg=rate=500 "
			   "--payload-arg arg0=0x10 --payload-arg arg7=7",
		      text, sizeof(text));
	assert_int_equal(r, OPTIONS_RUN);
	assert_true(opt.working_set_bytes == 1 << 20);
	assert_true(opt.pages_per_second == 500);
	assert_true(opt.payload_arg[0] == 16);
	assert_true(opt.payload_arg[7] == 7);
	options_done(&opt);
}

static void test_an_incoming_guest_needs_no_boot_source(void **state)
{
	struct options opt;
	char text[1024];
	(void)state;
	assert_int_equal(parse(&opt, GOOD "--incoming", text, sizeof(text)), OPTIONS_RUN);
	assert_int_equal(opt.boot, BOOT_NONE);
	options_done(&opt);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_what_is_wrong_is_said),
		cmocka_unit_test(test_all_options_are_understood),
		cmocka_unit_test(test_payload_arguments),
		cmocka_unit_test(test_an_incoming_guest_needs_no_boot_source),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
