/* SPDX-License-Identifier: Apache-2.0 */
/* Credentials and signatures as a worker gets them: any text as a signature, and, if it is JSON, as
 * a bundle, for both sides. */
/* LIBS: migd_engine */
#include <assert.h>
#include <errno.h>

#include "engine/tls-bundle.h"
#include "schema-json.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int never_sign(void *opaque, uint64_t deadline_ns, const struct tls_to_sign *what,
		      uint8_t *sig, size_t *ret_len, struct merr *err)
{
	(void)opaque;
	(void)deadline_ns;
	(void)what;
	(void)sig;
	(void)ret_len;
	return merr_set(err, -EACCES, "no");
}

static void try_bundle(const char *text)
{
	json_t *o = json_loads(text, JSON_REJECT_DUPLICATES, NULL);
	struct worker_tls b;
	struct merr err = MERR_INIT;
	struct tls *tls = NULL;

	for (int server = 0; o && server < 2; server++) {
		if (worker_tls_from_json(o, &b, &err) < 0)
			break;
		assert(tls_bundle_open(&b, server, never_sign, NULL, NULL, &tls, &err) == 0 ||
		       merr_is_set(&err));
		tls = tls_unref(tls);
		worker_tls_done(&b);
		merr_clear(&err);
	}
	json_decref(o);
}

static void try_signature(const char *text)
{
	uint8_t sig[TLS_SIGNATURE_MAX];
	size_t len;

	assert(tls_bundle_signature(text, sig, &len) < 0 || len <= sizeof(sig));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *text = strndup((const char *)data, size);

	assert(text);
	try_signature(text);
	try_bundle(text);
	free(text);
	return 0;
}

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max_size, unsigned int seed)
{
	uint8_t text[GRAMMAR_PIECE_MAX];
	struct wcur w = wcur_of(text, sizeof(text));

	if (fuzz_random(&seed) % 8)
		return LLVMFuzzerMutate ? LLVMFuzzerMutate(data, size, max_size) : size;
	fuzz_json_text(&worker_tls_type, &seed, &w);
	return fuzz_splice(data, size, max_size, 0, size, &w);
}
