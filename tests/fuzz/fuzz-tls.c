/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the daemon is told about TLS: by the input's first line a worker's request for a signature,
 * a priority string, or a file of shared keys.
 */
/* LIBS: migd_daemon */
#include <assert.h>
#include <openssl/evp.h>

#include "daemon/psk.h"
#include "daemon/tls-priority.h"
#include "daemon/tls-sign.h"
#include "in-daemon.h"
#include "messages.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void try_sign(const char *text)
{
	static EVP_PKEY *keys[2];
	json_t *o = json_loads(text, JSON_REJECT_DUPLICATES, NULL);
	struct worker_sign s;
	struct merr err = MERR_INIT;
	char *sig = NULL;

	if (!keys[0]) {
		keys[0] = EVP_PKEY_Q_keygen(NULL, NULL, "EC", "P-256");
		keys[1] = EVP_PKEY_Q_keygen(NULL, NULL, "RSA", (size_t)2048);
	}
	for (size_t i = 0; o && i < 4; i++) {
		if (worker_sign_from_json(o, &s, &err) < 0)
			break;
		assert(tls_sign(keys[i & 1], i & 2, &s, &sig, &err) < 0 ? merr_is_set(&err)
									: sig != NULL);
		free(sig);
		sig = NULL;
		worker_sign_done(&s);
		merr_clear(&err);
	}
	json_decref(o);
}

static void try_priority(const char *text)
{
	struct tls_priority p;
	struct merr err = MERR_INIT;

	for (int psk = 0; psk < 2; psk++) {
		assert(tls_priority_parse(text, psk, &p, &err) == 0 ? p.tls12 || p.tls13
								    : merr_is_set(&err));
		merr_clear(&err);
	}
}

static void try_keys(const char *text)
{
	struct fuzz_host *h = fuzz_host_clean();
	struct tls_creds_psk_properties p = { .has_dir = true, .dir = h->state };
	struct cred_files files = { 0 };
	struct merr err = MERR_INIT;
	struct tls_creds *creds = NULL;

	fuzz_file(h, "keys.psk", text, strlen(text));
	for (int server = 0; server < 2; server++) {
		p.has_endpoint = true;
		p.endpoint = server ? TLS_CREDS_ENDPOINT_SERVER : TLS_CREDS_ENDPOINT_CLIENT;
		p.has_username = strchr(text, 'u') != NULL;
		p.username = (char *)(uintptr_t) "u";
		assert(psk_load(&p, &files, &creds, &err) == 0 || merr_is_set(&err));
		tls_creds_unref(creds);
		creds = NULL;
		merr_clear(&err);
	}
	cred_files_done(&files);
}

static const struct {
	const char *word;
	void (*fn)(const char *text);
	const struct schema_type *type;
} kinds[] = {
	{ "sign", try_sign, &worker_sign_type },
	{ "priority", try_priority, NULL },
	{ "keys", try_keys, NULL },
};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const uint8_t *end = size ? memchr(data, '\n', size) : NULL;
	size_t word = end ? (size_t)(end - data) : 0;
	char *text;

	if (!end)
		return 0;
	text = strndup((const char *)end + 1, size - word - 1);
	assert(text);
	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++)
		if (strlen(kinds[i].word) == word && memcmp(kinds[i].word, data, word) == 0)
			kinds[i].fn(text);
	free(text);
	return 0;
}

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max_size, unsigned int seed)
{
	uint8_t text[GRAMMAR_PIECE_MAX];
	struct wcur w = wcur_of(text, sizeof(text));
	size_t i = fuzz_random(&seed) % ARRAY_SIZE(kinds);

	if (!kinds[i].type || fuzz_random(&seed) % 8)
		return LLVMFuzzerMutate ? LLVMFuzzerMutate(data, size, max_size) : size;
	wcur_bytes(&w, kinds[i].word, strlen(kinds[i].word));
	wcur_u8(&w, '\n');
	fuzz_json_text(kinds[i].type, &seed, &w);
	return fuzz_splice(data, size, max_size, 0, size, &w);
}
