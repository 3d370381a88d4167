/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who is let in by certificates, who is not, and what both sides are told about it. The keys are not in the TLS code's
 * hands: each signature is asked for.
 */
/* LIBS: migd_transport migd_base */
/* SOURCES: pki.c */
#include <errno.h>
#include <openssl/ssl.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/fd.h"
#include "pki.h"

#define DAY 86400L

static struct {
	struct pki ca, other_ca, server, client, early, late, stranger, for_clients, named, ed448;
} the;

static int make_all(void **state)
{
	(void)state;
	pki_make(&the.ca, &(struct pki_wants){ .cn = "CA", .type = PKI_RSA, .from_s = -DAY, .to_s = DAY });
	pki_make(&the.other_ca, &(struct pki_wants){ .cn = "Other CA", .type = PKI_P256, .from_s = -DAY, .to_s = DAY });
	pki_make(&the.server, &(struct pki_wants){ .ca = &the.ca, .cn = "server", .san = "DNS:qemu.org,IP:127.0.0.1",
						   .purpose = "serverAuth", .type = PKI_RSA, .from_s = -DAY, .to_s = DAY });
	pki_make(&the.client, &(struct pki_wants){ .ca = &the.ca, .cn = "client, the \xc3\xa9lder", .purpose = "clientAuth",
						   .type = PKI_P256, .from_s = -DAY, .to_s = DAY });
	pki_make(&the.early, &(struct pki_wants){ .ca = &the.ca, .cn = "early", .san = "IP:127.0.0.1", .type = PKI_P256,
						  .from_s = DAY, .to_s = 2 * DAY });
	pki_make(&the.late, &(struct pki_wants){ .ca = &the.ca, .cn = "late", .san = "IP:127.0.0.1", .type = PKI_P256,
						 .from_s = -2 * DAY, .to_s = -DAY });
	pki_make(&the.stranger, &(struct pki_wants){ .ca = &the.other_ca, .cn = "stranger", .san = "IP:127.0.0.1",
						     .type = PKI_P256, .from_s = -DAY, .to_s = DAY });
	pki_make(&the.for_clients, &(struct pki_wants){ .ca = &the.ca, .cn = "for clients", .san = "IP:127.0.0.1",
							.purpose = "clientAuth", .type = PKI_P256, .from_s = -DAY, .to_s = DAY });
	pki_make(&the.named, &(struct pki_wants){ .ca = &the.ca, .cn = "host.example", .type = PKI_P256, .from_s = -DAY,
						  .to_s = DAY });
	pki_make(&the.ed448, &(struct pki_wants){ .ca = &the.ca, .cn = "ed448", .type = PKI_ED448, .from_s = -DAY, .to_s = DAY });
	return 0;
}

static int free_all(void **state)
{
	struct pki *all = (struct pki *)&the;

	(void)state;
	for (size_t i = 0; i < sizeof(the) / sizeof(*all); i++)
		pki_done(&all[i]);
	return 0;
}

static void exchange(struct side *client, struct side *server)
{
	char got[8] = "";

	assert_int_equal(client->result, 0);
	assert_int_equal(server->result, 0);
	assert_int_equal(write_all(client->chan, "there", 5), 0);
	assert_int_equal(read_all(server->chan, got, 5, 5), 5);
	assert_int_equal(write_all(server->chan, "back", 4), 0);
	assert_int_equal(read_all(client->chan, got, 4, 4), 4);
	assert_memory_equal(got, "backe", 5);
}

static void finish(struct side *client, struct side *server)
{
	side_done(client);
	side_done(server);
}

static void test_each_kind_of_key_in_each_version(void **state)
{
	static const char *const versions[] = { "1.2", "1.3" };
	static const enum pki_key types[] = { PKI_RSA, PKI_P256, PKI_P384, PKI_ED25519 };

	(void)state;
	for (size_t v = 0; v < 2; v++) {
		for (size_t i = 0; i < sizeof(types) / sizeof(*types); i++) {
			struct pki id = { 0 };
			struct side client, server;
			char text[128];

			pki_make(&id, &(struct pki_wants){ .ca = &the.ca, .cn = "both", .san = "DNS:x.example", .type = types[i],
							   .from_s = -DAY, .to_s = DAY });
			side_x509(&client, false, &the.ca, &id, "x.example");
			side_x509(&server, true, &the.ca, &id, NULL);
			server.config.max_version = versions[v];
			sides_meet(&client, &server);
			exchange(&client, &server);
			assert_int_equal(client.n_signed, 1);
			assert_int_equal(server.n_signed, 1);
			assert_non_null(strstr(chan_describe(client.chan, text, sizeof(text)), versions[v]));
			assert_non_null(strstr(text, "128"));
			if (types[i] == PKI_RSA && v == 1)
				assert_int_equal(server.signed_with.padding, TLS_PADDING_PSS);
			if (types[i] == PKI_ED25519)
				assert_string_equal(server.digest, "");
			if (types[i] != PKI_RSA)
				assert_int_equal(server.signed_with.padding, TLS_PADDING_NONE);
			finish(&client, &server);
			pki_done(&id);
		}
	}
}

/* A client of OpenSSL's own, that CTX describes and which is let in; the caller's. *FD is its socket, the caller's too. */
static SSL *foreign_client(SSL_CTX *ctx, struct side *server, int *fd)
{
	SSL *ssl = SSL_new(ctx);
	int fds[2], r = 0;

	pki_sockets(fds);
	*fd = fds[0];
	assert_int_equal(fd_set_nonblock(fds[0], true), 0);
	(void)SSL_set_fd(ssl, fds[0]);
	side_x509(server, true, &the.ca, &the.server, NULL);
	server->config.verify_peer = false;
	side_open(server, fds[1]);
	for (;;) {
		struct pollfd p[] = { { .fd = fds[0], .events = POLLIN }, { .fd = fds[1], .events = POLLIN } };

		r = r == 1 ? 1 : SSL_connect(ssl);
		(void)side_step(server);
		if ((r == 1 && server->result != -EAGAIN) || poll(p, 2, 10000) <= 0)
			break;
	}
	assert_int_equal(r, 1);
	assert_int_equal(server->result, 0);
	return ssl;
}

static void end_foreign_client(SSL_CTX *ctx, SSL *ssl, int fd, struct side *server)
{
	side_done(server);
	SSL_free(ssl);
	SSL_CTX_free(ctx);
	(void)close(fd);
}

/* A client that takes nothing else, as old ones do. */
static void test_rsa_with_pkcs1_padding(void **state)
{
	SSL_CTX *ctx = SSL_CTX_new(TLS_client_method());
	struct side server;
	SSL *ssl;
	int fd;

	(void)state;
	(void)SSL_CTX_set_max_proto_version(ctx, TLS1_2_VERSION);
	assert_int_equal(SSL_CTX_set1_sigalgs_list(ctx, "RSA+SHA256"), 1);
	ssl = foreign_client(ctx, &server, &fd);
	assert_int_equal(server.signed_with.padding, TLS_PADDING_PKCS1);
	end_foreign_client(ctx, ssl, fd, &server);
}

/* GnuTLS changes keys by itself in long sessions. It may ask for ours to be changed; that goes out with the next write. */
static void test_keys_are_changed(void **state)
{
	SSL_CTX *ctx = SSL_CTX_new(TLS_client_method());
	struct side server;
	char got[4];
	SSL *ssl;
	int fd, n;

	(void)state;
	ssl = foreign_client(ctx, &server, &fd);
	for (int i = 0; i < 5; i++) {
		assert_int_equal(SSL_key_update(ssl, i % 2 ? SSL_KEY_UPDATE_REQUESTED : SSL_KEY_UPDATE_NOT_REQUESTED), 1);
		assert_int_equal(SSL_write(ssl, "here", 4), 4);
		assert_int_equal(read_all(server.chan, got, 4, 4), 4);
		assert_memory_equal(got, "here", 4);
		/* Nothing unasked: the client may not read. */
		assert_int_equal(recv(fd, got, 1, MSG_PEEK | MSG_DONTWAIT), -1);
		assert_int_equal(write_all(server.chan, "back", 4), 0);
		while ((n = SSL_read(ssl, got, 4)) < 0)
			assert_true(fd_wait(fd, POLLIN, -1, clock_now_ns() + 10 * NS_PER_SEC) > 0);
		assert_int_equal(n, 4);
		assert_memory_equal(got, "back", 4);
	}
	end_foreign_client(ctx, ssl, fd, &server);
}

static void test_client_without_certificate_where_none_is_wanted(void **state)
{
	struct side client, server;

	(void)state;
	side_x509(&client, false, &the.ca, NULL, "127.0.0.1");
	side_x509(&server, true, &the.ca, &the.server, NULL);
	server.config.verify_peer = false;
	server.config.ca = NULL;
	sides_meet(&client, &server);
	exchange(&client, &server);
	assert_int_equal(client.n_signed, 0);
	finish(&client, &server);
}

static void test_client_is_authorized_by_name(void **state)
{
	struct side client, server;

	(void)state;
	side_x509(&client, false, &the.ca, &the.client, "qemu.org");
	side_x509(&server, true, &the.ca, &the.server, NULL);
	server.dn_wanted = "O=Example,CN=client\\, the \xc3\xa9lder";
	sides_meet(&client, &server);
	exchange(&client, &server);
	assert_string_equal(server.dn, server.dn_wanted);
	finish(&client, &server);
}

/* The client is sure at first: it learns on the first read. */
static void assert_refused(struct side *client, struct side *server, const char *here, const char *there)
{
	char byte;
	ssize_t n;

	assert_true(server->result < 0);
	assert_non_null(strstr(merr_msg(&server->err), here));
	if (client->result == 0) {
		n = chan_read(client->chan, &byte, 1, DEADLINE_NONE);
		assert_true(n < 0);
		if (!strstr(chan_why(client->chan), there))
			print_error("'%s' is not about '%s'\n", chan_why(client->chan), there);
		assert_non_null(strstr(chan_why(client->chan), there));
	} else if (!strstr(merr_msg(&client->err), there)) {
		fail_msg("'%s' is not about '%s'", merr_msg(&client->err), there);
	}
	finish(client, server);
}

static void test_client_of_another_name_is_refused(void **state)
{
	static const char *const versions[] = { "1.2", "1.3" };

	(void)state;
	for (size_t v = 0; v < 2; v++) {
		struct side client, server;

		side_x509(&client, false, &the.ca, &the.client, "qemu.org");
		side_x509(&server, true, &the.ca, &the.server, NULL);
		client.config.max_version = versions[v];
		server.dn_wanted = "CN=somebody else";
		sides_meet(&client, &server);
		assert_refused(&client, &server, "may not connect", "tls-authz");
	}
}

/* Nobody is authorized by half a name, which could be another's, or by none: not asked about at all. */
static void test_client_without_a_whole_name_is_refused(void **state)
{
	static const struct pki_wants without[] = { { .cn = NULL }, { .cn = "long", .n_units = 20 } };

	(void)state;
	for (size_t i = 0; i < 2; i++) {
		struct pki_wants w = without[i];
		struct side client, server;
		struct pki odd;

		w.ca = &the.ca;
		w.purpose = "clientAuth";
		w.type = PKI_P256;
		w.from_s = -DAY;
		w.to_s = DAY;
		pki_make(&odd, &w);
		side_x509(&client, false, &the.ca, &odd, "qemu.org");
		side_x509(&server, true, &the.ca, &the.server, NULL);
		server.dn_wanted = "";
		sides_meet(&client, &server);
		assert_string_equal(server.dn, "");
		assert_refused(&client, &server, "the client's name is empty or too long", "");
		pki_done(&odd);
	}
}

static void test_clients_that_do_not_hold(void **state)
{
	const struct {
		const struct pki *identity;
		const char *here, *there;
	} all[] = {
		{ NULL, "the client has no certificate", "wants a certificate" },
		{ &the.late, "the client's certificate 'O=Example,CN=late' expired on", "has expired there" },
		{ &the.early, "is not valid before", "bad certificate" },
		{ &the.stranger, "it is from 'O=Example,CN=Other CA', which this side's ca-cert.pem does not have",
		  "does not trust who issued" },
		{ &the.server, "is not made for a TLS client (extendedKeyUsage)", "unsupported certificate" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(all) / sizeof(*all); i++) {
		struct side client, server;

		side_x509(&client, false, &the.ca, all[i].identity, "qemu.org");
		side_x509(&server, true, &the.ca, &the.server, NULL);
		sides_meet(&client, &server);
		assert_refused(&client, &server, all[i].here, all[i].there);
	}
}

static void test_servers_that_do_not_hold(void **state)
{
	const struct {
		const struct pki *identity;
		const char *host, *here;
		bool name; /* found out when the handshake is complete */
	} all[] = {
		{ &the.late, "127.0.0.1", "the server's certificate 'O=Example,CN=late' expired on", false },
		{ &the.early, "127.0.0.1", "is the clock right on both hosts?", false },
		{ &the.stranger, "127.0.0.1", "which this side's ca-cert.pem does not have", false },
		{ &the.for_clients, "127.0.0.1", "is not made for a TLS server", false },
		{ &the.server, "10.0.0.1", "to be '10.0.0.1', but its certificate is for 'DNS:qemu.org, IP Address:127.0.0.1'",
		  true },
		{ &the.server, "qemu.com", "to be 'qemu.com', but its certificate is for 'DNS:qemu.org", true },
		/* A name in the subject counts only where there is no other. */
		{ &the.server, "server", "to be 'server'", true },
		{ &the.named, "other.example", "its certificate is for 'O=Example,CN=host.example'", true },
		{ &the.server, NULL, "set tls-hostname", true },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(all) / sizeof(*all); i++) {
		struct side client, server;

		side_x509(&client, false, &the.ca, NULL, all[i].host);
		side_x509(&server, true, &the.ca, all[i].identity, NULL);
		server.config.verify_peer = false;
		sides_meet(&client, &server);
		assert_true(client.result < 0);
		if (!strstr(merr_msg(&client.err), all[i].here))
			fail_msg("'%s' is not about '%s'", merr_msg(&client.err), all[i].here);
		assert_true((server.result < 0) != all[i].name);
		finish(&client, &server);
	}
}

static void test_name_in_the_subject(void **state)
{
	struct side client, server;

	(void)state;
	side_x509(&client, false, &the.ca, NULL, "host.example");
	side_x509(&server, true, &the.ca, &the.named, NULL);
	server.config.verify_peer = false;
	sides_meet(&client, &server);
	exchange(&client, &server);
	finish(&client, &server);
}

static void test_revoked(void **state)
{
	char *crl = pki_revoke(&the.ca, &the.client), *none = pki_revoke(&the.ca, NULL);
	struct side client, server;

	(void)state;
	side_x509(&client, false, &the.ca, &the.client, "qemu.org");
	side_x509(&server, true, &the.ca, &the.server, NULL);
	server.config.crl = crl;
	sides_meet(&client, &server);
	assert_refused(&client, &server, "was revoked", "revoked");

	side_x509(&client, false, &the.ca, &the.client, "qemu.org");
	side_x509(&server, true, &the.ca, &the.server, NULL);
	client.config.crl = crl;
	server.config.crl = none;
	sides_meet(&client, &server);
	exchange(&client, &server);
	finish(&client, &server);
	free(crl);
	free(none);
}

/* Two authorities are trusted, and only one of them has a list: nobody of the other is revoked. */
static void test_authority_without_a_list(void **state)
{
	char *crl = pki_revoke(&the.ca, NULL);
	char both[16384];
	struct side client, server;

	(void)state;
	(void)snprintf(both, sizeof(both), "%s%s", the.ca.pem, the.other_ca.pem);
	side_x509(&client, false, &the.ca, &the.stranger, "qemu.org");
	side_x509(&server, true, &the.ca, &the.server, NULL);
	server.config.ca = both;
	server.config.crl = crl;
	sides_meet(&client, &server);
	exchange(&client, &server);
	finish(&client, &server);
	free(crl);
}

static int refuse_to_sign(void *opaque, uint64_t deadline_ns, const struct tls_to_sign *what, uint8_t *sig, size_t *ret_len,
			  struct merr *err)
{
	(void)opaque;
	(void)deadline_ns;
	(void)what;
	(void)sig;
	(void)ret_len;
	return merr_set(err, -EIO, "the key is gone");
}

static void test_signature_that_does_not_come(void **state)
{
	struct side client, server;

	(void)state;
	side_x509(&client, false, &the.ca, NULL, "qemu.org");
	side_x509(&server, true, &the.ca, &the.server, NULL);
	server.config.verify_peer = false;
	server.config.sign = refuse_to_sign;
	sides_meet(&client, &server);
	assert_true(server.result < 0);
	assert_string_equal(merr_msg(&server.err), "the key is gone");
	assert_true(client.result < 0);
	finish(&client, &server);
}

static int sign_too_much(void *opaque, uint64_t deadline_ns, const struct tls_to_sign *what, uint8_t *sig, size_t *ret_len,
			 struct merr *err)
{
	(void)opaque;
	(void)deadline_ns;
	(void)what;
	(void)err;
	memset(sig, 'x', TLS_SIGNATURE_MAX);
	*ret_len = TLS_SIGNATURE_MAX;
	return 0;
}

static void test_signature_that_is_too_long(void **state)
{
	struct side client, server;

	(void)state;
	side_x509(&client, false, &the.ca, NULL, "qemu.org");
	side_x509(&server, true, &the.ca, &the.server, NULL);
	server.config.verify_peer = false;
	server.config.sign = sign_too_much;
	sides_meet(&client, &server);
	assert_true(server.result < 0);
	assert_string_equal(merr_msg(&server.err), "TLS: a signature of 1024 bytes came for a key that makes 256");
	assert_true(client.result < 0);
	finish(&client, &server);
}

static void test_no_version_in_common(void **state)
{
	struct side client, server;

	(void)state;
	side_x509(&client, false, &the.ca, NULL, "qemu.org");
	side_x509(&server, true, &the.ca, &the.server, NULL);
	server.config.verify_peer = false;
	client.config.max_version = "1.2";
	server.config.min_version = "1.3";
	sides_meet(&client, &server);
	assert_non_null(strstr(merr_msg(&server.err), "no version of TLS is allowed on both sides"));
	assert_non_null(strstr(merr_msg(&client.err), "no version of TLS is allowed on both sides"));
	finish(&client, &server);
}

static void test_no_cipher_in_common(void **state)
{
	struct side client, server;

	(void)state;
	side_x509(&client, false, &the.ca, NULL, "qemu.org");
	side_x509(&server, true, &the.ca, &the.server, NULL);
	server.config.verify_peer = false;
	client.config.ciphersuites13 = "TLS_AES_128_GCM_SHA256";
	server.config.ciphersuites13 = "TLS_CHACHA20_POLY1305_SHA256";
	server.config.min_version = "1.3";
	sides_meet(&client, &server);
	assert_non_null(strstr(merr_msg(&server.err), "no cipher is allowed on both sides"));
	assert_non_null(strstr(merr_msg(&client.err), "no cipher"));
	finish(&client, &server);
}

static void assert_no_tls(struct side *s, const char *why)
{
	struct merr err = MERR_INIT;

	s->config.certificates = s->certificates;
	assert_null(tls_new(&s->config, &err));
	if (!strstr(merr_msg(&err), why))
		fail_msg("'%s' is not about '%s'", merr_msg(&err), why);
}

static int admit(void *opaque, uint64_t deadline_ns, const char *dn, struct merr *err)
{
	(void)opaque;
	(void)deadline_ns;
	(void)dn;
	(void)err;
	return 0;
}

static void test_what_cannot_be_loaded(void **state)
{
	struct side s;

	(void)state;
	side_x509(&s, false, &the.ca, NULL, "x");
	s.config.ca = "no PEM";
	assert_no_tls(&s, "the certificates of authorities: there is nothing in it");
	s.config.ca = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
	assert_no_tls(&s, "the certificates of authorities");
	s.config.ca = NULL;
	assert_no_tls(&s, "without certificates of authorities");
	side_x509(&s, true, &the.ca, NULL, NULL);
	assert_no_tls(&s, "a server needs at least one");
	side_x509(&s, true, &the.ca, &the.server, NULL);
	s.certificates[0] = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
	assert_no_tls(&s, "a certificate");
	side_x509(&s, true, &the.ca, &the.server, NULL);
	s.config.crl = "";
	assert_no_tls(&s, "the list of revoked certificates");
	side_x509(&s, true, &the.ca, &the.server, NULL);
	s.config.groups = "P-256:nonsense";
	assert_no_tls(&s, "groups");
	side_x509(&s, true, &the.ca, &the.server, NULL);
	s.config.ciphersuites13 = "TLS_NONSENSE";
	assert_no_tls(&s, "ciphers of TLS 1.3");
	side_x509(&s, true, &the.ca, &the.server, NULL);
	s.config.min_version = "1.1";
	assert_no_tls(&s, "TLS version '1.1'");
	side_x509(&s, true, &the.ca, &the.ed448, NULL);
	assert_no_tls(&s, "certificate 0: its key is none of RSA, EC and Ed25519");
	side_x509(&s, true, &the.ca, &the.server, NULL);
	s.config.verify_peer = false;
	s.config.authorize = admit;
	assert_no_tls(&s, "cannot be authorized whose certificates are not verified");
}

/* Of two certificates the peer gets one that it can use. */
static void test_two_identities(void **state)
{
	struct side client, server;

	(void)state;
	side_x509(&client, false, &the.ca, NULL, "qemu.org");
	side_x509(&server, true, &the.ca, &the.server, NULL);
	server.certificates[1] = the.named.pem;
	server.config.n_certificates = 2;
	server.config.verify_peer = false;
	client.config.max_version = "1.2";
	client.config.ciphers12 = "ECDHE-RSA-AES128-GCM-SHA256";
	sides_meet(&client, &server);
	exchange(&client, &server);
	finish(&client, &server);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_each_kind_of_key_in_each_version),
		cmocka_unit_test(test_rsa_with_pkcs1_padding),
		cmocka_unit_test(test_keys_are_changed),
		cmocka_unit_test(test_client_without_certificate_where_none_is_wanted),
		cmocka_unit_test(test_client_is_authorized_by_name),
		cmocka_unit_test(test_client_of_another_name_is_refused),
		cmocka_unit_test(test_client_without_a_whole_name_is_refused),
		cmocka_unit_test(test_clients_that_do_not_hold),
		cmocka_unit_test(test_servers_that_do_not_hold),
		cmocka_unit_test(test_name_in_the_subject),
		cmocka_unit_test(test_revoked),
		cmocka_unit_test(test_authority_without_a_list),
		cmocka_unit_test(test_signature_that_does_not_come),
		cmocka_unit_test(test_signature_that_is_too_long),
		cmocka_unit_test(test_no_version_in_common),
		cmocka_unit_test(test_no_cipher_in_common),
		cmocka_unit_test(test_what_cannot_be_loaded),
		cmocka_unit_test(test_two_identities),
	};

	return cmocka_run_group_tests(tests, make_all, free_all);
}
