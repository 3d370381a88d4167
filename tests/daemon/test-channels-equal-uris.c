/* SPDX-License-Identifier: Apache-2.0 */
/* An address is the same, and refused with the same text, whether it is a URI or `channels` (QMP.md 6.1 and 6.2). */
/* LIBS: migd_daemon */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>
#include <jansson.h>

#include "base/cleanup.h"
#include "daemon/address.h"
#include "schema/types.h"

#define INET(rest)   "{'transport':'socket','type':'inet'," rest "}"
#define UNIX(rest)   "{'transport':'socket','type':'unix'," rest "}"
#define VSOCK(c, p)  "{'transport':'socket','type':'vsock','cid':'" c "','port':'" p "'}"
#define HOST_1       "'host':'h','port':'1'"

static const struct {
	const char *uri;
	const char *addr;
} rows[] = {
	{ "tcp:h:1", INET(HOST_1) },
	{ "tcp::0", INET("'host':'','port':'0'") },
	{ "tcp:[::1]:65535", INET("'host':'::1','port':'65535'") },
	{ "tcp:[fe80::1%eth0]:ssh", INET("'host':'fe80::1%eth0','port':'ssh'") },
	{ "tcp:h:1,to=65535", INET(HOST_1 ",'to':65535") },
	{ "tcp:h:0,to=0", INET("'host':'h','port':'0','to':0") },
	{ "tcp:h:1,ipv4", INET(HOST_1 ",'ipv4':true") },
	{ "tcp:h:1,ipv4=off", INET(HOST_1 ",'ipv4':false") },
	{ "tcp:h:1,ipv6=off", INET(HOST_1 ",'ipv6':false") },
	{ "tcp:h:1,ipv6,ipv4", INET(HOST_1 ",'ipv4':true,'ipv6':true") },
	{ "tcp:h:1,ipv6,ipv4=off", INET(HOST_1 ",'ipv4':false,'ipv6':true") },
	{ "tcp:h:1,numeric", INET(HOST_1 ",'numeric':true") },
	{ "tcp:h:1,mptcp=on", INET(HOST_1 ",'mptcp':true") },
	{ "tcp:h:1,keep-alive,keep-alive-count=1,keep-alive-idle=4294967295,keep-alive-interval=3",
	  INET(HOST_1 ",'keep-alive':true,'keep-alive-count':1,'keep-alive-idle':4294967295,'keep-alive-interval':3") },
	{ "tcp:h:1,source-address=fd00::7,source-interface=eth1",
	  INET(HOST_1 ",'source-address':'fd00::7','source-interface':'eth1'") },
	{ "unix:/run/a,b:c", UNIX("'path':'/run/a,b:c'") },
	{ "unix:/run/x", UNIX("'path':'/run/x','abstract':false,'tight':false") },
	{ "unix-abstract:x", UNIX("'path':'x','abstract':true") },
	{ "unix-abstract:x", UNIX("'path':'x','abstract':true,'tight':true") },
	{ "unix-abstract-padded:x", UNIX("'path':'x','abstract':true,'tight':false") },
	{ "vsock:2:1234", VSOCK("2", "1234") },
	{ "vsock:4294967295:4294967295", VSOCK("4294967295", "4294967295") },
	{ "fd:mig", "{'transport':'socket','type':'fd','str':'mig'}" },
	{ "fd:7", "{'transport':'socket','type':'fd','str':'7'}" },
	{ "file:/x,offset=4096", "{'transport':'file','filename':'/x','offset':4096}" },
	{ "exec:cat >x", "{'transport':'exec','args':['/bin/sh','-c','cat >x']}" },
	{ "tcp:h:1,ipv4,guest=a,b", INET(HOST_1 ",'ipv4':true,'guest':'a,b'") },
	{ "tcp:h:1,guest=", INET(HOST_1 ",'guest':''") },
	{ "unix:/x,guest=g", UNIX("'path':'/x','guest':'g'") },
	{ "unix-abstract:x,guest=g", UNIX("'path':'x','abstract':true,'guest':'g'") },
	{ "vsock:2:1,guest=g", "{'transport':'socket','type':'vsock','cid':'2','port':'1','guest':'g'}" },
	{ "shared:g", "{'transport':'shared','guest':'g'}" },
	/* Wrong ones. */
	{ "tcp:h:", INET("'host':'h','port':''") },
	{ "tcp:h:65536", INET("'host':'h','port':'65536'") },
	{ "tcp:h:-1", INET("'host':'h','port':'-1'") },
	{ "tcp:h: 1", INET("'host':'h','port':' 1'") },
	{ "tcp:h:9,to=8", INET("'host':'h','port':'9','to':8") },
	{ "tcp:h:1,to=0", INET(HOST_1 ",'to':0") },
	{ "tcp:h:ssh,to=22", INET("'host':'h','port':'ssh','to':22") },
	{ "tcp:h:1,ipv4=off,ipv6=off", INET(HOST_1 ",'ipv4':false,'ipv6':false") },
	{ "tcp:h:1,source-address=eth1", INET(HOST_1 ",'source-address':'eth1'") },
	{ "tcp:h:1,source-interface=a/b", INET(HOST_1 ",'source-interface':'a/b'") },
	{ "unix:", UNIX("'path':''") },
	{ "unix-abstract:", UNIX("'path':'','abstract':true") },
	{ "vsock::1", VSOCK("", "1") },
	{ "vsock:1:", VSOCK("1", "") },
	{ "vsock:4294967296:1", VSOCK("4294967296", "1") },
	{ "vsock:1:1:1", VSOCK("1", "1:1") },
	{ "fd:", "{'transport':'socket','type':'fd','str':''}" },
	{ "file:", "{'transport':'file','filename':'','offset':0}" },
	{ "file:/x,offset=9223372036854775807", "{'transport':'file','filename':'/x','offset':9223372036854775807}" },
	{ "rdma:h:1", "{'transport':'rdma'," HOST_1 "}" },
};

/* The one channel of JSON text in which ' stands for ". */
static int channel_of(const char *addr, struct migration_channel *ret, struct merr *err)
{
	char text[8192];
	json_t *o;
	int r;

	(void)snprintf(text, sizeof(text), "{'channel-type':'main','addr':%s}", addr);
	for (char *p = strchr(text, '\''); p; p = strchr(p, '\''))
		*p = '"';
	o = json_loads(text, JSON_DECODE_ANY, NULL);
	if (!o)
		fail_msg("test: %s", text);
	r = migration_channel_from_json(o, ret, err);
	json_decref(o);
	return r;
}

/* What comes behind the prefix that says which form it was. */
static const char *reason(const struct merr *err)
{
	const char *text = merr_msg(err), *end = strstr(text, "': ");

	if (strncmp(text, "channels[0].addr: ", 18) == 0)
		text += 18;
	if (strncmp(text, "error parsing address '", 23) == 0 && end)
		text = end + 3;
	return text;
}

static void test_both_forms(void **state)
{
	char text[ADDRESS_TEXT_MAX];

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct merr uri_err = MERR_INIT, channel_err = MERR_INIT;
		struct migration_channel channel = { 0 };
		struct addr by_uri, by_channel;
		int r;

		r = channel_of(rows[i].addr, &channel, &channel_err);
		if (r < 0)
			fail_msg("%s: %s", rows[i].addr, merr_msg(&channel_err));
		r = address_parse(rows[i].uri, NULL, 0, &by_uri, text, &uri_err);
		assert_int_equal(address_parse(NULL, &channel, 1, &by_channel, text, &channel_err), r);
		assert_int_equal(address_parse_incoming(NULL, &channel, 1, &by_channel, text, NULL), r);
		migration_channel_done(&channel);
		if (r < 0) {
			assert_non_null(strstr(merr_msg(&channel_err), "channels[0].addr"));
			assert_string_equal(reason(&channel_err), reason(&uri_err));
		} else if (memcmp(&by_uri, &by_channel, sizeof(by_uri)) != 0) {
			fail_msg("%s is not %s", rows[i].addr, rows[i].uri);
		}
		/* What it is called in the journal means the same. */
		if (r == 0) {
			assert_int_equal(addr_parse_uri(text, &by_uri, NULL), 0);
			assert_memory_equal(&by_uri, &by_channel, sizeof(by_uri));
		}
	}
}

/* What a URI cannot say. */
static void test_only_channels(void **state)
{
	static const struct {
		const char *addr;
		const char *text;
	} wrong[] = {
		{ INET("'host':'h,to=9','port':'1'"), "'host' cannot have any of ,[] in it" },
		{ INET("'host':'[::1]','port':'1'"), "'host' cannot have any of ,[] in it" },
		{ INET("'host':'h','port':'1,to=9'"), "'port' cannot have any of ,: in it" },
		{ INET("'host':'h','port':'1:2'"), "'port' cannot have any of ,: in it" },
		{ INET(HOST_1 ",'source-address':'::1,to=9'"), "'source-address' cannot" },
		{ INET(HOST_1 ",'source-interface':'x,to=9'"), "'source-interface' cannot" },
		{ VSOCK("1:2", "3"), "'cid' cannot have any of ,: in it" },
		{ VSOCK("1", "3,guest=g"), "'port' cannot have any of , in it" },
		{ "{'transport':'exec','args':[]}", "the command is missing" },
		{ "{'transport':'exec','args':['']}", "the command is missing" },
	};
	char text[ADDRESS_TEXT_MAX];
	struct addr a;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(wrong); i++) {
		struct migration_channel channel = { 0 };
		struct merr err = MERR_INIT;

		assert_int_equal(channel_of(wrong[i].addr, &channel, &err), 0);
		assert_true(address_parse(NULL, &channel, 1, &a, text, &err) < 0);
		if (!strstr(merr_msg(&err), wrong[i].text))
			fail_msg("%s: '%s' does not say '%s'", wrong[i].addr, merr_msg(&err), wrong[i].text);
		migration_channel_done(&channel);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_both_forms),
		cmocka_unit_test(test_only_channels),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
