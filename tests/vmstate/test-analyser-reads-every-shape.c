/* SPDX-License-Identifier: Apache-2.0 */
/* QEMU's stream analyser makes of a stream with every shape of field what the fields hold. */
/* LIBS: migd_guest migd_base */
/* SOURCES: fake-arch.c shapes.c */
/* LABELS: interop */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

#include "base/cleanup.h"
#include "guest/state.h"
#include "tests/vmstate/fake-arch.h"
#include "tests/vmstate/shapes.h"

static char analyser[4096];

static const char expected[] =
	"{\"fake-cpu (1)\": {\"cpu\": \"0x00000007\"}, \"shapes (2)\": {"
	"\"same\": \"0xfffffffe (-2)\", \"at_most\": \"0x00000005\", \"d\": \"3f f8 00 00 00 00 00 00\", "
	"\"timer\": \"ff ff ff ff ff ff ff ff\", \"n\": \"0x00000002\", \"n8\": \"0x02\", "
	"\"pairs\": [\"0x0001\", \"0x0002\", \"0x0003\", \"0x0004\"], \"inlined\": \"69 6e\", "
	"\"blob\": \"62 6c 6f 62 62 79\", \"bits\": \"80 00 00 00 00 00 00 01 00 00 00 00 00 00 00 21\", "
	"\"n_bits\": \"0x0003\", \"more_bits\": \"00 00 00 00 00 00 00 05\", "
	"\"to\": {\"x\": \"0x000b\", \"y\": \"0x000c\"}, \"maybe\": {\"x\": \"0x000d\", \"y\": \"0x000e\"}, "
	"\"never\": \"nullptr\", \"some\": [\"nullptr\", \"nullptr\", {\"x\": \"0x000f\", \"y\": \"0x0010\"}, "
	"{\"x\": \"0x0011\", \"y\": \"0x0012\"}, \"nullptr\"], \"numbers\": [\"0x77\", \"nullptr\"], "
	"\"old\": \"00 13\", \"tmp\": \"00 7d\", \"name\": \"6d 65 21\"}, "
	"\"list (3)\": {\"items\": [{\"n\": \"0x01\", \"data\": \"0x00\"}, {\"n\": \"0x00\"}, \"nullptr\", \"nullptr\"]}, "
	"\"lump (4)\": {\"data\": \"68 69\"}}\n";

static int lump_save(void *opaque, struct migd_guest_writer *w, struct migd_vmstate_error *err)
{
	(void)opaque;
	(void)err;
	migd_guest_write(w, "hi", 2);
	return 0;
}

/* A whole stream of WIRE.md 1: opening, sections, end, description. */
static void make_stream(struct buf *out)
{
	static struct migd_guest_device_ops ops = { .version = 1, .save = lump_save };
	static const struct migd_vmstate lump_desc = { .version = 1 };
	static struct guest_tables tables;
	struct vary one = { .n = 1 }, none = { .n = 0 };
	struct list list = { { &one, &none, NULL, NULL } };
	struct buf json = { 0 };
	struct arch_state arch;
	struct behind b;
	struct shapes s = shapes_fill(&b);
	struct guest_device devices[] = { { .name = "shapes", .desc = &shapes_vmstate, .opaque = &s },
					  { .name = "list", .desc = &list_vmstate, .opaque = &list },
					  { .name = "lump", .desc = &lump_desc, .ops = &ops } };
	uint32_t n;

	fake_arch_init(&arch);
	arch.cpu = 7;
	tables.devices = devices;
	tables.n_devices = ARRAY_SIZE(devices);
	buf_add(out, "QEVM\0\0\0\3\7\0\0\0\4none", 17);
	buf_add_str(&json, "{\"configuration\": {\"vmsd_name\": \"configuration\", \"version\": 1, \"fields\": ["
		    "{\"name\": \"len\", \"type\": \"uint32\", \"size\": 4}, "
		    "{\"name\": \"name\", \"type\": \"buffer\", \"size\": 4}]}, \"page_size\": 4096, \"devices\": [");
	assert_int_equal(guest_state_save(&arch, &tables, 1, out, &json, &n, NULL), 0);
	buf_add_str(&json, "]}");
	while (json.len % 256 == '{' || json.len / 256 % 256 == '{')
		buf_u8(&json, ' ');	/* WIRE.md 1.4: the analyser would take it for the beginning */
	buf_u8(out, 0);
	buf_u8(out, 6);
	buf_be32(out, (uint32_t)json.len);
	buf_add(out, json.data, json.len);
	assert_int_equal(out->error, 0);
	buf_done(&json);
}

/* What the analyser says, on one line. */
static void analyse(const char *path, char *ret, size_t size)
{
	char command[9000];
	size_t len;
	FILE *f;

	(void)snprintf(command, sizeof(command),
		       "python3 '%s' -f '%s' -d state | python3 -c 'import json, sys; print(json.dumps(json.load(sys.stdin)))'",
		       analyser, path);
	f = popen(command, "r");
	assert_non_null(f);
	len = fread(ret, 1, size - 1, f);
	ret[len] = '\0';
	assert_int_equal(pclose(f), 0);
}

static void the_analyser_sees_what_the_fields_hold(void **state)
{
	char path[] = "/tmp/migd-analyse-XXXXXX", said[8192];
	struct buf out = { 0 };
	int fd = mkstemp(path);

	(void)state;
	assert_true(fd >= 0);
	make_stream(&out);
	assert_int_equal(write(fd, out.data, out.len), out.len);
	(void)close(fd);
	analyse(path, said, sizeof(said));
	(void)unlink(path);
	buf_done(&out);
	assert_string_equal(said, expected);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(the_analyser_sees_what_the_fields_hold) };
	const char *source = getenv("MIGD_SOURCE_DIR");

	(void)snprintf(analyser, sizeof(analyser), "%s/build/qemu/analyze-migration.py", source ? source : ".");
	if (access(analyser, R_OK) < 0) {
		printf("SKIP: no %s: scripts/fetch-analyzer fetches it\n", analyser);
		return 77;
	}
	return cmocka_run_group_tests(tests, NULL, NULL);
}
