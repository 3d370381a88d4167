/* SPDX-License-Identifier: Apache-2.0 */
/*
 * URIs of migration streams: the right ones mean what they say, the wrong ones are refused with a
 * text that helps.
 */
/* LIBS: migd_transport migd_base */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "transport/addr.h"

static const struct {
	const char *uri;
	struct addr addr;
	const char *formatted; /* NULL: the same as uri */
} good[] = {
	{ "tcp:127.0.0.1:4444", { .type = ADDR_TCP, .host = "127.0.0.1", .port = "4444" }, NULL },
	{ "tcp::0", { .type = ADDR_TCP, .port = "0" }, NULL },
	{ "tcp:host.example:65535",
	  { .type = ADDR_TCP, .host = "host.example", .port = "65535" },
	  NULL },
	{ "tcp:[::1]:4444", { .type = ADDR_TCP, .host = "::1", .port = "4444" }, NULL },
	{ "tcp:h:ssh", { .type = ADDR_TCP, .host = "h", .port = "ssh" }, NULL },
	{ "tcp:h:1,to=9", { .type = ADDR_TCP, .host = "h", .port = "1", .to = 9 }, NULL },
	{ "tcp:h:9,to=9", { .type = ADDR_TCP, .host = "h", .port = "9", .to = 9 }, NULL },
	{ "tcp:h:1,ipv4", { .type = ADDR_TCP, .host = "h", .port = "1", .ipv4 = true }, NULL },
	{ "tcp:h:1,ipv6=on,ipv4=off",
	  { .type = ADDR_TCP, .host = "h", .port = "1", .ipv6 = true },
	  "tcp:h:1,ipv6" },
	{ "tcp:h:1,keep-alive",
	  { .type = ADDR_TCP, .host = "h", .port = "1", .keep_alive = true },
	  NULL },
	{ "unix:/run/x", { .type = ADDR_UNIX, .path = "/run/x" }, NULL },
	{ "unix:a:b,to=1", { .type = ADDR_UNIX, .path = "a:b,to=1" }, NULL },
	{ "tcp:h:1,numeric", { .type = ADDR_TCP, .host = "h", .port = "1", .numeric = true }, NULL },
	{ "tcp:h:1,keep-alive-count=3,keep-alive-idle=4294967295,keep-alive-interval=0",
	  { .type = ADDR_TCP, .host = "h", .port = "1", .keep_alive_count = 3,
	    .keep_alive_idle = UINT32_MAX },
	  "tcp:h:1,keep-alive-count=3,keep-alive-idle=4294967295" },
	{ "tcp:h:0,to=0", { .type = ADDR_TCP, .host = "h", .port = "0" }, "tcp:h:0" },
	{ "tcp:h:00080", { .type = ADDR_TCP, .host = "h", .port = "00080" }, NULL },
	{ "tcp:h:1,ipv4=off", { .type = ADDR_TCP, .host = "h", .port = "1", .ipv6 = true }, "tcp:h:1,ipv6" },
	{ "tcp:h:1,ipv6=off", { .type = ADDR_TCP, .host = "h", .port = "1", .ipv4 = true }, "tcp:h:1,ipv4" },
	{ "tcp:h:1,ipv4=on,ipv6=on",
	  { .type = ADDR_TCP, .host = "h", .port = "1", .ipv4 = true, .ipv6 = true },
	  "tcp:h:1,ipv4,ipv6" },
	{ "tcp:h:1,mptcp", { .type = ADDR_TCP, .host = "h", .port = "1", .mptcp = true }, NULL },
	{ "tcp:h:1,mptcp=off", { .type = ADDR_TCP, .host = "h", .port = "1" }, "tcp:h:1" },
	{ "tcp:[fe80::1%eth0]:4444", { .type = ADDR_TCP, .host = "fe80::1%eth0", .port = "4444" }, NULL },
	{ "tcp:h:1,source-address=192.0.2.7,source-interface=eth1",
	  { .type = ADDR_TCP, .host = "h", .port = "1",
	    .source = { .address = "192.0.2.7", .interface = "eth1" } },
	  NULL },
	{ "tcp:h:1,source-address=fe80::1%eth0",
	  { .type = ADDR_TCP, .host = "h", .port = "1", .source = { .address = "fe80::1%eth0" } },
	  NULL },
	{ "tcp:h:1,source-address=,source-interface=", { .type = ADDR_TCP, .host = "h", .port = "1" }, "tcp:h:1" },
	{ "tcp:h:1,source-interface=fifteen-bytes-x",
	  { .type = ADDR_TCP, .host = "h", .port = "1", .source = { .interface = "fifteen-bytes-x" } },
	  NULL },
	{ "unix-abstract:a,b:c", { .type = ADDR_UNIX, .path = "a,b:c", .abstract = true }, NULL },
	{ "unix-abstract-padded:/x", { .type = ADDR_UNIX, .path = "/x", .abstract = true, .padded = true }, NULL },
	{ "vsock:2:1", { .type = ADDR_VSOCK, .cid = 2, .vsock_port = 1 }, NULL },
	{ "vsock:0:0", { .type = ADDR_VSOCK }, NULL },
	{ "vsock:4294967295:4294967295",
	  { .type = ADDR_VSOCK, .cid = UINT32_MAX, .vsock_port = UINT32_MAX },
	  NULL },
	{ "vsock:03:0000001024", { .type = ADDR_VSOCK, .cid = 3, .vsock_port = 1024 }, "vsock:3:1024" },
	{ "tcp:h:1,guest=g", { .type = ADDR_TCP, .host = "h", .port = "1", .to_guest = true, .guest = "g" }, NULL },
	{ "tcp:h:1,ipv4,guest=a,b=c,guest=d",
	  { .type = ADDR_TCP, .host = "h", .port = "1", .ipv4 = true, .to_guest = true, .guest = "a,b=c,guest=d" },
	  "tcp:h:1,ipv4,guest=a,b=c,guest=d" },
	{ "tcp:h:1,guest", { .type = ADDR_TCP, .host = "h", .port = "1", .to_guest = true },
	  "tcp:h:1,guest=" },
	{ "unix:/x,guest=g", { .type = ADDR_UNIX, .path = "/x", .to_guest = true, .guest = "g" }, NULL },
	{ "unix:/x,guest=", { .type = ADDR_UNIX, .path = "/x", .to_guest = true }, NULL },
	{ "unix:/x,guests,guest=g", { .type = ADDR_UNIX, .path = "/x,guests", .to_guest = true, .guest = "g" }, NULL },
	{ "shared:", { .type = ADDR_SHARED }, NULL },
	{ "shared:a b", { .type = ADDR_SHARED, .guest = "a b" }, NULL },
	{ "vsock:2:1,guest=g", { .type = ADDR_VSOCK, .cid = 2, .vsock_port = 1, .to_guest = true, .guest = "g" }, NULL },
	{ "unix-abstract:x,guest=g",
	  { .type = ADDR_UNIX, .path = "x", .abstract = true, .to_guest = true, .guest = "g" },
	  NULL },
	{ "fd:fd-mig", { .type = ADDR_FD, .text = "fd-mig" }, NULL },
	{ "fd:12", { .type = ADDR_FD, .text = "12" }, NULL },
	{ "file:/x", { .type = ADDR_FILE, .text = "/x" }, NULL },
	{ "file:/x,y", { .type = ADDR_FILE, .text = "/x,y" }, NULL },
	{ "file:/x,offset=4096", { .type = ADDR_FILE, .text = "/x", .offset = 4096 }, NULL },
	{ "file:/x,offset=0x1000", { .type = ADDR_FILE, .text = "/x", .offset = 4096 },
	  "file:/x,offset=4096" },
	{ "file:/x,offset=4k", { .type = ADDR_FILE, .text = "/x", .offset = 4096 },
	  "file:/x,offset=4096" },
	{ "file:/x,offset=1.5M", { .type = ADDR_FILE, .text = "/x", .offset = 3 << 19 },
	  "file:/x,offset=1572864" },
	{ "file:/x,offset=7B", { .type = ADDR_FILE, .text = "/x", .offset = 7 }, "file:/x,offset=7" },
	{ "file:/x,offset=7E", { .type = ADDR_FILE, .text = "/x", .offset = UINT64_C(7) << 60 },
	  "file:/x,offset=8070450532247928832" },
};

static void test_commands(void **state)
{
	struct addr a, b = { .type = ADDR_EXEC };
	char text[64];

	(void)state;
	assert_int_equal(addr_parse_uri("exec:cat > 'a b'", &a, NULL), 0);
	assert_int_equal(a.type, ADDR_EXEC);
	assert_int_equal(a.n_args, 3);
	assert_string_equal(addr_arg(&a, 0), "/bin/sh");
	assert_string_equal(addr_arg(&a, 1), "-c");
	assert_string_equal(addr_arg(&a, 2), "cat > 'a b'");
	assert_string_equal(addr_format(&a, text, sizeof(text)), "exec:cat > 'a b'");
	assert_int_equal(addr_add_arg(&b, "/bin/tee"), 0);
	assert_int_equal(addr_add_arg(&b, ""), 0);
	assert_int_equal(addr_add_arg(&b, "x y"), 0);
	assert_string_equal(addr_arg(&b, 1), "");
	assert_string_equal(addr_arg(&b, 2), "x y");
	assert_string_equal(addr_format(&b, text, sizeof(text)), "exec:/bin/tee  x y");
	while (addr_add_arg(&b, "0123456789") == 0)
		assert_in_range(b.n_args, 0, ADDR_TEXT_MAX / 11 + 4);
	assert_string_equal(addr_arg(&b, b.n_args - 1), "0123456789");
}

static void test_right_uris(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(good); i++) {
		struct merr err = MERR_INIT;
		struct addr a, again;
		char text[512];

		if (addr_parse_uri(good[i].uri, &a, &err) < 0)
			fail_msg("%s: %s", good[i].uri, merr_msg(&err));
		assert_int_equal(a.type, good[i].addr.type);
		assert_string_equal(a.host, good[i].addr.host);
		assert_string_equal(a.port, good[i].addr.port);
		assert_string_equal(a.path, good[i].addr.path);
		assert_string_equal(a.text, good[i].addr.text);
		assert_int_equal(a.to_guest, good[i].addr.to_guest);
		assert_string_equal(a.guest, good[i].addr.guest);
		assert_int_equal(a.offset, good[i].addr.offset);
		assert_int_equal(a.numeric, good[i].addr.numeric);
		assert_int_equal(a.keep_alive_count, good[i].addr.keep_alive_count);
		assert_int_equal(a.keep_alive_idle, good[i].addr.keep_alive_idle);
		assert_int_equal(a.keep_alive_interval, good[i].addr.keep_alive_interval);
		assert_int_equal(a.to, good[i].addr.to);
		assert_int_equal(a.ipv4, good[i].addr.ipv4);
		assert_int_equal(a.ipv6, good[i].addr.ipv6);
		assert_int_equal(a.keep_alive, good[i].addr.keep_alive);
		assert_int_equal(a.mptcp, good[i].addr.mptcp);
		assert_int_equal(a.abstract, good[i].addr.abstract);
		assert_int_equal(a.padded, good[i].addr.padded);
		assert_int_equal(a.cid, good[i].addr.cid);
		assert_int_equal(a.vsock_port, good[i].addr.vsock_port);
		assert_string_equal(a.source.address, good[i].addr.source.address);
		assert_string_equal(a.source.interface, good[i].addr.source.interface);
		assert_string_equal(addr_format(&a, text, sizeof(text)),
				    good[i].formatted ?: good[i].uri);
		/* What is written is read as the same again: the journal rests on it. */
		assert_int_equal(addr_parse_uri(text, &again, NULL), 0);
		assert_memory_equal(&a, &again, sizeof(a));
	}
}

static void test_endpoints(void **state)
{
	static const char *const rows[][2] = {
		{ "tcp:[::1]:1,to=9,ipv6", "[::1]:1" }, { "tcp::0", ":0" },	   { "unix:/a:b,c", "/a:b,c" },
		{ "unix-abstract:x", "x" },		  { "vsock:3:99", "3:99" }, { "file:/x,offset=7", "/x,offset=7" },
	};
	struct addr a;
	char text[64];

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		assert_int_equal(addr_parse_uri(rows[i][0], &a, NULL), 0);
		assert_string_equal(addr_endpoint(&a, text, sizeof(text)), rows[i][1]);
	}
}

static const struct {
	const char *uri;
	int code;
	const char *text; /* part of the message */
} bad[] = {
	{ "", -EINVAL, "unknown migration protocol" },
	{ "tcp", -EINVAL, "unknown migration protocol: tcp" },
	{ "ftp:h:1", -EINVAL, "unknown migration protocol: ftp:h:1" },
	{ "TCP:h:1", -EINVAL, "unknown migration protocol" },
	{ "tcp:", -EINVAL, "the port is missing" },
	{ "tcp:h", -EINVAL, "the port is missing" },
	{ "tcp:h:", -EINVAL, "the port is missing" },
	{ "tcp:h:,to=1", -EINVAL, "the port is missing" },
	{ "tcp:h:65536", -EINVAL, "port '65536' is neither a number from 0 to 65535" },
	{ "tcp:h:-1", -EINVAL, "port '-1'" },
	{ "tcp:h:4 4", -EINVAL, "port '4 4'" },
	{ "tcp:h:1:2", -EINVAL, "more than one ':'" },
	{ "tcp:::1:4444", -EINVAL, "in brackets" },
	{ "tcp:[::1:4444", -EINVAL, "after the IPv6 address" },
	{ "tcp:[::1]", -EINVAL, "after the IPv6 address" },
	{ "tcp:[host]:1", -EINVAL, "'[host]' is no IPv6 address" },
	{ "tcp:[[]:0", -EINVAL, "'[[]' is no IPv6 address" },
	{ "tcp:[::1]4444", -EINVAL, "after the IPv6 address" },
	{ "tcp:h:1,", -EINVAL, "unknown option ''" },
	{ "tcp:h:1,nonsense", -EINVAL, "unknown option 'nonsense'" },
	{ "tcp:h:1,to=abc", -EINVAL, "option 'to' expects a port number" },
	{ "tcp:h:1,to=", -EINVAL, "option 'to' expects a port number" },
	{ "tcp:h:1,to=65536", -EINVAL, "option 'to' expects a port number" },
	{ "tcp:h:9,to=1", -EINVAL, "ends before port 9" },
	{ "tcp:h:ssh,to=30", -EINVAL, "needs a numeric port" },
	{ "tcp:h:1,ipv4=maybe", -EINVAL, "expects 'on' or 'off', not 'maybe'" },
	{ "tcp:h:1,mptcp=yes", -EINVAL, "option 'mptcp' expects 'on' or 'off', not 'yes'" },
	{ "tcp:h:1,to=0", -EINVAL, "the range 'to=0' ends before port 1" },
	{ "tcp:h:1,to=2,to=3", -EINVAL, "option 'to' is given twice" },
	{ "tcp:h:1,ipv4,ipv4", -EINVAL, "option 'ipv4' is given twice" },
	{ "tcp:h:1,ipv4=off,ipv6=off", -EINVAL, "leave nothing" },
	{ "tcp:h:1,ipv4,", -EINVAL, "unknown option ''" },
	{ "tcp:h:1,,ipv4", -EINVAL, "unknown option ''" },
	{ "tcp:h:1,IPV4", -EINVAL, "unknown option 'IPV4'" },
	{ "tcp:h:1,ipv4 ", -EINVAL, "unknown option 'ipv4 '" },
	{ "tcp:h:000080", -EINVAL, "port '000080' is neither" },
	{ "tcp:h:+1", -EINVAL, "port '+1' is neither" },
	{ "tcp:h:-ssh", -EINVAL, "port '-ssh' is neither" },
	{ "tcp:h:ssh!", -EINVAL, "port 'ssh!' is neither" },
	{ "tcp:h:ssh,to=22", -EINVAL, "needs a numeric port" },
	{ "tcp:[]", -EINVAL, "after the IPv6 address" },
	{ "tcp:h:1,source-address=h", -EINVAL, "option 'source-address': 'h' is no address" },
	{ "tcp:h:1,source-address=192.0.2.256", -EINVAL, "is no address" },
	{ "tcp:h:1,source-address=192.0.2.1:80", -EINVAL, "is no address" },
	{ "tcp:h:1,source-address=[::1]", -EINVAL, "without brackets and port" },
	{ "tcp:h:1,source-address=192.0.2.1%eth0", -EINVAL, "is no address" },
	{ "tcp:h:1,source-address=fe80::1%", -EINVAL, "is no address" },
	{ "tcp:h:1,source-address=fe80::1%sixteen-bytes-xx", -EINVAL, "is no address" },
	{ "tcp:h:1,source-address=::1,source-address=::1", -EINVAL, "given twice" },
	{ "tcp:h:1,source-interface=sixteen-bytes-xx", -EINVAL, "one of 1 to 15 bytes" },
	{ "tcp:h:1,source-interface=a/b", -EINVAL, "cannot be the name of a network interface" },
	{ "tcp:h:1,source-interface=..", -EINVAL, "cannot be the name of a network interface" },
	{ "tcp:h:1,source-interface=eth0:1", -EINVAL, "cannot be the name of a network interface" },
	{ "unix-abstract:", -EINVAL, "the name of the abstract Unix socket is missing" },
	{ "vsock:", -EINVAL, "the CID is missing" },
	{ "vsock::1", -EINVAL, "the CID is missing" },
	{ "vsock:1", -EINVAL, "the port is missing" },
	{ "vsock:1:", -EINVAL, "the port is missing" },
	{ "vsock:1:2:3", -EINVAL, "the port is a number from 0 to 4294967295, not '2:3'" },
	{ "vsock:1:2,x", -EINVAL, "not '2,x'" },
	{ "vsock:-1:2", -EINVAL, "the CID is a number" },
	{ "vsock:4294967296:2", -EINVAL, "the CID is a number from 0 to 4294967295" },
	{ "vsock:1:4294967296", -EINVAL, "the port is a number" },
	{ "vsock:00000000001:1", -EINVAL, "the CID is a number" },
	{ "vsock:any:1", -EINVAL, "not 'any'" },
	{ "vsock:0x2:1", -EINVAL, "not '0x2'" },
	{ "unix:", -EINVAL, "the path of the Unix socket is missing" },
	{ "tcp:h:1,keep-alive-idle=-1", -EINVAL, "expects a number from 0 to 4294967295, not '-1'" },
	{ "tcp:h:1,keep-alive-count=4294967296", -EINVAL, "expects a number" },
	{ "tcp:h:1,guest=a\nb", -EINVAL, "no control characters" },
	{ "tcp:h:1,guests", -EINVAL, "unknown option 'guests'" },
	{ "tcp:,guest=a", -EINVAL, "the port is missing" },
	{ "unix:,guest=a", -EINVAL, "the path of the Unix socket is missing" },
	{ "fd:", -EINVAL, "invalid fd address" },
	{ "exec:", -EINVAL, "the command is missing" },
	{ "file:", -EINVAL, "the path of the file is missing" },
	{ "file:,offset=1", -EINVAL, "the path of the file is missing" },
	{ "file:/x,offset=", -EINVAL, "bad offset ''" },
	{ "file:/x,offset=0x20M", -EINVAL, "bad offset '0x20M': Invalid argument" },
	{ "file:/x,offset=0x", -EINVAL, "bad offset '0x'" },
	{ "file:/x,offset=1Q", -EINVAL, "bad offset '1Q'" },
	{ "file:/x,offset=1 ", -EINVAL, "bad offset '1 '" },
	{ "file:/x,offset=1MB", -EINVAL, "bad offset '1MB'" },
	{ "file:/x,offset=-1", -EINVAL, "bad offset '-1'" },
	{ "file:/x,offset=1.5", -EINVAL, "bad offset '1.5'" },
	{ "file:/x,offset=99999999999999999999", -EINVAL, "bad offset" },
	{ "file:/x,offset=16E", -EINVAL, "out of range" },
	{ "file:/x,offset=8E", -EINVAL, "out of range" },
	{ "rdma:h:1", -ENOTSUP, "'rdma' is not supported" },
};

static void assert_refused(const char *uri, int code, const char *text)
{
	struct addr a, untouched;
	struct merr err = MERR_INIT;

	memset(&a, 0x5a, sizeof(a));
	untouched = a;
	if (addr_parse_uri(uri, &a, &err) != code)
		fail_msg("%s: code %d, expected %d: %s", uri, err.code, code, merr_msg(&err));
	if (!strstr(merr_msg(&err), text))
		fail_msg("%s: '%s' does not say '%s'", uri, merr_msg(&err), text);
	assert_memory_equal(&a, &untouched, sizeof(a));
	assert_int_equal(addr_parse_uri(uri, &a, NULL), code);
}

static void test_wrong_uris(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		assert_refused(bad[i].uri, bad[i].code, bad[i].text);
}

/* "PREFIX" + N times 'x' + "SUFFIX" */
static const char *long_uri(const char *prefix, size_t n, const char *suffix)
{
	static char text[8192];

	memset(text, 'x', sizeof(text));
	memcpy(text, prefix, strlen(prefix));
	(void)snprintf(text + strlen(prefix) + n, sizeof(text) - strlen(prefix) - n, "%s", suffix);
	return text;
}

static void test_longest(void **state)
{
	struct addr a;

	(void)state;
	assert_int_equal(addr_parse_uri(long_uri("tcp:", ADDR_HOST_MAX, ":1"), &a, NULL), 0);
	assert_int_equal(strlen(a.host), ADDR_HOST_MAX);
	assert_refused(long_uri("tcp:", ADDR_HOST_MAX + 1, ":1"), -EINVAL, "can have 253 bytes, this one has 254");
	assert_int_equal(addr_parse_uri(long_uri("tcp:h:", ADDR_PORT_MAX, ""), &a, NULL), 0);
	assert_refused(long_uri("tcp:h:", ADDR_PORT_MAX + 1, ""), -EINVAL, "can have 31 bytes, this one has 32");
	assert_int_equal(addr_parse_uri(long_uri("unix:", sizeof(a.path) - 1, ""), &a, NULL), 0);
	assert_int_equal(addr_parse_uri(long_uri("shared:", ADDR_GUEST_MAX, ""), &a, NULL), 0);
	assert_refused(long_uri("shared:", ADDR_GUEST_MAX + 1, ""), -EINVAL, "1 to 127 bytes");
	assert_refused(long_uri("unix:", sizeof(a.path), ""), -EINVAL,
		       "can have 107 bytes, this one has 108");
	assert_int_equal(addr_parse_uri(long_uri("unix-abstract:", sizeof(a.path) - 1, ""), &a, NULL), 0);
	assert_refused(long_uri("unix-abstract:", sizeof(a.path), ""), -EINVAL,
		       "an abstract Unix socket can have 107 bytes, this one has 108");
	assert_int_equal(addr_parse_uri(long_uri("fd:", ADDR_TEXT_MAX, ""), &a, NULL), 0);
	assert_refused(long_uri("fd:", ADDR_TEXT_MAX + 1, ""), -EINVAL, "can have 4095 bytes, this one has 4096");
	assert_int_equal(addr_parse_uri(long_uri("file:", ADDR_TEXT_MAX, ",offset=1"), &a, NULL), 0);
	assert_int_equal(strlen(a.text), ADDR_TEXT_MAX);
	assert_refused(long_uri("file:", ADDR_TEXT_MAX + 1, ",offset=1"), -EINVAL,
		       "can have 4095 bytes, this one has 4096");
	/* Behind "/bin/sh" and "-c", with their NULs. */
	assert_int_equal(addr_parse_uri(long_uri("exec:", ADDR_TEXT_MAX - 11, ""), &a, NULL), 0);
	assert_refused(long_uri("exec:", ADDR_TEXT_MAX - 10, ""), -EINVAL, "a command can have 4084 bytes, this one has 4085");
	/* The errors of the longest still say what to do. */
	assert_refused(long_uri("", 8000, ""), -EINVAL, "use tcp:HOST:PORT");
	assert_refused(long_uri("tcp:h:1,", 8000, ""), -EINVAL, "unknown option 'xxx");
}

static void test_format_is_cut(void **state)
{
	struct addr a = { .type = ADDR_UNIX, .path = "/abcdef" };
	char text[8];

	(void)state;
	assert_string_equal(addr_format(&a, text, sizeof(text)), "unix:/a");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_right_uris),
		cmocka_unit_test(test_endpoints),
		cmocka_unit_test(test_commands),
		cmocka_unit_test(test_wrong_uris),
		cmocka_unit_test(test_longest),
		cmocka_unit_test(test_format_is_cut),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
