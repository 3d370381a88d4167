/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a former daemon left in the state directory: one file, by the input's first line a journal,
 * the settings of a guest or of the host, a migration's record, a worker's socket; or several, with
 * a line "--" between them. A daemon starts with it, a VMM comes back, and all is asked for.
 */
/* LIBS: migd_daemon */
#include "attach/codec.h"
#include "attach/conn.h"
#include "daemon/history.h"
#include "daemon/record-file.h"
#include "daemon/record.h"
#include "daemon/worker.h"
#include "grammar.h"
#include "in-daemon.h"
#include "messages.h"
#include "transport/addr.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define OTHER_ID "ffeeddccbbaa99887766554433221100"

/* A guest's file is called by the hexadecimal digits of its name: "vm". */
static const struct kind {
	const char *word, *file;
	const struct schema_type *type; /* of its largest part */
} kinds[] = {
	{ "journal", "migrations/" FUZZ_ID ".json", NULL },
	{ "other-journal", "migrations/" OTHER_ID ".json", NULL },
	{ "worker", "workers/" OTHER_ID ".sock", NULL },
	{ "settings", "settings/766d", &migration_parameters_type },
	{ "host", "settings/host", &host_parameters_type },
	{ "record", "records/" FUZZ_ID ".json", &migration_record_type },
	{ "other-record", "records/" OTHER_ID ".json", &migration_record_type },
};

static const struct kind *find_kind(const uint8_t *word, size_t len)
{
	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++)
		if (strlen(kinds[i].word) == len && memcmp(kinds[i].word, word, len) == 0)
			return &kinds[i];
	return NULL;
}

/* Nobody outside is connected to, and nothing outside is looked for: addresses are those of
 * nowhere. */
static bool stays_here(const char *text, size_t len)
{
	json_t *o = json_loadb(text, len, 0, NULL);
	static const char *const names[] = { "uri", "listen", "attach-path" };
	bool fine = true;

	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		const char *s = json_string_value(json_object_get(o, names[i]));
		const char *path = s && strchr(s, ':') ? strchr(s, ':') + 1 : s;

		fine &= !path || !*path || strncmp(path, "/nonexistent/", 13) == 0;
	}
	json_decref(o);
	return fine;
}

static void come_back(struct daemon *d, const struct fuzz_host *h)
{
	const struct attach_hello hello = { .proto_min = ATTACH_VERSION,
					    .proto_max = ATTACH_VERSION,
					    .name = "vm",
					    .arch = "x86_64",
					    .role = 1,
					    .run_state = 1,
					    .handover_state = HANDOVER_RUNNING,
					    .page_size = 4096,
					    .ram_bytes = MIB,
					    .prev_epoch = 1 };
	struct conn *vmm = conn_new(fuzz_connect(h->attach));
	int fd = fuzz_fd_decision();
	uint8_t bytes[512];
	struct wcur w = wcur_of(bytes, sizeof(bytes));

	(void)attach_hello_encode(&w, &hello);
	(void)conn_send(vmm, ATTACH_HELLO, bytes, w.len, &fd, 1, NULL);
	(void)close(fd);
	fuzz_daemon_turn(d);
	(void)conn_free(vmm);
	fuzz_daemon_turn(d);
}

static void run_daemon(struct fuzz_host *h)
{
	struct daemon *d = fuzz_daemon_start(h);

	fuzz_daemon_turn(d);
	come_back(d, h);
	fuzz_daemon_end(h, d);
}

/* What is taken is written, and read the same. */
static void check_record(const char *text)
{
	struct merr err = MERR_INIT;
	struct record *r = NULL, *again = NULL;
	char *first, *second;

	if (record_file_parse(text, &r, &err) < 0) {
		assert(merr_is_set(&err));
		return;
	}
	first = record_file_text(r);
	assert(first && record_file_parse(first, &again, &err) == 0);
	second = record_file_text(again);
	assert(second && strlen(first) == strlen(second));
	(void)record_free(r);
	(void)record_free(again);
	free(first);
	free(second);
}

/* The VMM that settings are of is this process: its numbers go in for @PID@ and @START@. */
static char *fill_in(const uint8_t *text, size_t len, size_t *ret_len)
{
	static const char pid_mark[] = "@PID@", start_mark[] = "@START@";
	char *out = malloc(8 * len + 64);
	size_t n = 0;

	assert(out);
	for (size_t i = 0; i < len;) {
		bool pid = len - i >= sizeof(pid_mark) - 1 &&
			   memcmp(text + i, pid_mark, sizeof(pid_mark) - 1) == 0;
		bool start = len - i >= sizeof(start_mark) - 1 &&
			     memcmp(text + i, start_mark, sizeof(start_mark) - 1) == 0;

		if (!pid && !start) {
			out[n++] = (char)text[i++];
			continue;
		}
		n += (size_t)snprintf(out + n, 24, "%llu",
				      pid ? (unsigned long long)getpid()
					  : (unsigned long long)process_start_time(getpid()));
		i += pid ? sizeof(pid_mark) - 1 : sizeof(start_mark) - 1;
	}
	out[n] = '\0';
	*ret_len = n;
	return out;
}

/* False: it is none, or one that does not stay here. */
static bool put_file(const struct fuzz_host *h, const uint8_t *data, size_t size)
{
	const uint8_t *end = size ? memchr(data, '\n', size) : NULL;
	const struct kind *kind = end ? find_kind(data, (size_t)(end - data)) : NULL;
	bool stays = false;
	size_t len;
	char *text;

	if (!kind)
		return false;
	text = fill_in(end + 1, size - (size_t)(end + 1 - data), &len);
	stays = stays_here(text, len);
	if (stays)
		fuzz_file(h, kind->file, text, len);
	if (stays && kind->type == &migration_record_type)
		check_record(text);
	free(text);
	return stays;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const char between[] = "\n--\n";
	struct fuzz_host *h = fuzz_host_clean();
	const uint8_t *end = data + size, *next;

	/* So that records have to go. */
	fuzz_set(h, "history", "max-records", "1");
	fuzz_set(h, "history", "max-age", "87600");
	for (;; data = next + strlen(between)) {
		next = memmem(data, (size_t)(end - data), between, strlen(between));
		if (!put_file(h, data, (size_t)((next ? next : end) - data)))
			return 0;
		if (!next)
			break;
	}
	run_daemon(h);
	return 0;
}

/* The frame of each kind stays whole. */
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max_size, unsigned int seed)
{
	uint8_t text[GRAMMAR_PIECE_MAX];
	struct wcur w = wcur_of(text, sizeof(text));
	const struct kind *kind = &kinds[fuzz_random(&seed) % ARRAY_SIZE(kinds)];
	const char *before = "", *after = "";

	if (!kind->type || fuzz_random(&seed) % 8)
		return LLVMFuzzerMutate ? LLVMFuzzerMutate(data, size, max_size) : size;
	if (kind->type == &migration_parameters_type) {
		before = "{\"version\":1,\"guest\":\"vm\",\"vmm-pid\":@PID@,\"vmm-start-time\":@"
			 "START@,\"capabilities\":[],\"parameters\":";
		after = "}";
	} else if (kind->type == &migration_record_type) {
		before = "{\"format\":1,\"start\":1,\"waits\":0,\"entry\":{},\n\"record\":";
		after = "}";
	}
	wcur_bytes(&w, kind->word, strlen(kind->word));
	wcur_u8(&w, '\n');
	wcur_bytes(&w, before, strlen(before));
	fuzz_json_text(kind->type, &seed, &w);
	wcur_bytes(&w, after, strlen(after));
	return fuzz_splice(data, size, max_size, 0, size, &w);
}
