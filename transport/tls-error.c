/* SPDX-License-Identifier: Apache-2.0 */
/* OpenSSL's errors in words that say what to do. */
#include <errno.h>
#include <openssl/err.h>
#include <openssl/sslerr.h>
#include <stdio.h>
#include <string.h>

#include "transport/tls-internal.h"

struct meaning {
	int reason;	/* SSL_R_..., or an alert's number */
	const char *text;
};

/* Alerts: what the peer says before it hangs up (RFC 8446, 6.2). */
static const struct meaning alerts[] = {
	{ SSL_AD_CERTIFICATE_REQUIRED, "it wants a certificate, and there is none on this side" },
	{ SSL_AD_BAD_CERTIFICATE, "it refuses this side's certificate: it is damaged, or not allowed there (tls-authz)" },
	{ SSL_AD_UNSUPPORTED_CERTIFICATE, "it cannot use this side's certificate: its kind, or its extendedKeyUsage" },
	{ SSL_AD_CERTIFICATE_REVOKED, "this side's certificate was revoked" },
	{ SSL_AD_CERTIFICATE_EXPIRED, "this side's certificate has expired there, or is not valid yet: is the clock right on "
				      "both hosts?" },
	{ SSL_AD_CERTIFICATE_UNKNOWN, "it does not accept this side's certificate" },
	{ SSL_AD_UNKNOWN_CA, "it does not trust who issued this side's certificate: compare the two sides' ca-cert.pem" },
	{ SSL_AD_ACCESS_DENIED, "this side's certificate is not allowed there (tls-authz)" },
	{ SSL_AD_PROTOCOL_VERSION, "no version of TLS is allowed on both sides" },
	{ SSL_AD_INSUFFICIENT_SECURITY, "it wants stronger ciphers than this side has" },
	{ SSL_AD_UNKNOWN_PSK_IDENTITY, "it does not know a shared key of this name: compare the two sides' keys.psk and username" },
	{ SSL_AD_NO_APPLICATION_PROTOCOL, "it wants another protocol than a migration" },
};

static const struct meaning complaints[] = {
	{ SSL_R_NO_SHARED_CIPHER, "no cipher is allowed on both sides, or one has certificates and the other shared keys" },
	{ SSL_R_UNSUPPORTED_PROTOCOL, "no version of TLS is allowed on both sides" },
	{ SSL_R_VERSION_TOO_LOW, "no version of TLS is allowed on both sides" },
	{ SSL_R_VERSION_TOO_HIGH, "no version of TLS is allowed on both sides" },
	{ SSL_R_NO_PROTOCOLS_AVAILABLE, "no version of TLS is left to offer" },
	{ SSL_R_UNKNOWN_PROTOCOL, "no version of TLS is allowed on both sides" },
	{ SSL_R_NO_SUITABLE_GROUPS, "no group for the key exchange is allowed on both sides" },
	{ SSL_R_NO_SUITABLE_KEY_SHARE, "no group for the key exchange is allowed on both sides" },
	{ SSL_R_NO_SHARED_GROUPS, "no group for the key exchange is allowed on both sides" },
	{ SSL_R_NO_SUITABLE_SIGNATURE_ALGORITHM, "no kind of signature suits both sides, or one has certificates and the other "
						 "shared keys" },
	{ SSL_R_PEER_DID_NOT_RETURN_A_CERTIFICATE, "the client has no certificate, and needs one" },
	{ SSL_R_BINDER_DOES_NOT_VERIFY, "the two sides have different keys under the same name" },
	{ SSL_R_DECRYPTION_FAILED_OR_BAD_RECORD_MAC, "what came was changed on the way" },
	{ SSL_R_PSK_IDENTITY_NOT_FOUND, "there is no shared key of the client's name here" },
};

static const char *find(const struct meaning *m, size_t n, int reason)
{
	for (size_t i = 0; i < n; i++)
		if (m[i].reason == reason)
			return m[i].text;
	return NULL;
}

static const char *alert_text(const struct tls_situation *at, int alert)
{
	if (alert == SSL_AD_HANDSHAKE_FAILURE)
		return at->psk ? "there is no cipher that both sides allow, or no shared key of this name"
			       : "there is no cipher, group or certificate that both sides can use";
	/* Libraries differ in what they say then. */
	if (at->psk && at->handshake && (alert == SSL_AD_DECRYPT_ERROR || alert == SSL_AD_BAD_RECORD_MAC ||
					 alert == SSL_AD_ILLEGAL_PARAMETER))
		return "the two sides have different keys under the same name";
	if (alert == SSL_AD_DECRYPT_ERROR || alert == SSL_AD_BAD_RECORD_MAC)
		return "it could not decrypt what this side sent, or not verify a signature of it";
	return find(alerts, sizeof(alerts) / sizeof(*alerts), alert);
}

/* What cannot be the beginning of TLS. */
static bool is_no_tls(int reason)
{
	return reason == SSL_R_WRONG_VERSION_NUMBER || reason == SSL_R_HTTP_REQUEST ||
	       reason == SSL_R_HTTPS_PROXY_REQUEST || reason == SSL_R_PACKET_LENGTH_TOO_LONG ||
	       reason == SSL_R_BAD_RECORD_TYPE || reason == SSL_R_ENCRYPTED_LENGTH_TOO_LONG ||
	       reason == SSL_R_DATA_LENGTH_TOO_LONG || reason == SSL_R_RECORD_LENGTH_MISMATCH;
}

static int explain_ssl(const struct tls_situation *at, unsigned long e, struct merr *err)
{
	int reason = ERR_GET_REASON(e);
	const char *text, *name = ERR_reason_error_string(e);

	if (reason >= SSL_AD_REASON_OFFSET && reason < SSL_AD_REASON_OFFSET + 256) {
		text = alert_text(at, reason - SSL_AD_REASON_OFFSET);
		return merr_set(err, -EACCES, "TLS: the peer refused the connection: %s%s%s%s", text ? text : name,
				text ? " (" : "", text ? SSL_alert_desc_string_long(reason - SSL_AD_REASON_OFFSET) : "",
				text ? ")" : "");
	}
	if (at->handshake && is_no_tls(reason))
		return merr_set(err, -EPROTO, "the peer does not speak TLS: tls-creds are set here, and not there");
	/* In TLS 1.2 that is how different keys show. */
	if (at->psk && at->handshake && reason == SSL_R_DECRYPTION_FAILED_OR_BAD_RECORD_MAC)
		reason = SSL_R_BINDER_DOES_NOT_VERIFY;
	text = find(complaints, sizeof(complaints) / sizeof(*complaints), reason);
	return merr_set(err, -EPROTO, "TLS: %s", text ? text : name ? name : "an error without a name");
}

static int explain_end(const struct tls_situation *at, struct merr *err)
{
	if (at->handshake && at->psk && !at->server)
		return merr_set(err, -ECONNRESET, "the peer closed the connection in the TLS handshake; its log may say why. Do "
				"both sides have the same key of this name?");
	if (at->handshake)
		return merr_set(err, -ECONNRESET, "the peer closed the connection in the TLS handshake; its log may say why");
	return merr_set(err, -ENODATA, "the TLS stream was cut off: the connection ended without a word from the peer; its "
			"log may say why");
}

int tls_explain(const struct tls_situation *at, int result, struct merr *err)
{
	int saved = errno;
	unsigned long e = ERR_peek_error();
	int r;

	if (result == SSL_ERROR_SYSCALL && saved && !e)
		r = at->handshake ? merr_set_errno(err, -saved, "TLS handshake") :
				    merr_set_errno(err, -saved, "TLS connection");
	else if (!e || ERR_GET_REASON(e) == SSL_R_UNEXPECTED_EOF_WHILE_READING)
		r = explain_end(at, err);
	else
		r = explain_ssl(at, e, err);
	ERR_clear_error();
	return r;
}

int tls_complain(struct merr *err, const char *what)
{
	unsigned long e = ERR_peek_last_error();
	const char *reason = ERR_reason_error_string(e), *data = NULL;

	(void)ERR_peek_last_error_data(&data, NULL);
	(void)merr_set(err, -EINVAL, "TLS: %s: %s%s%s", what, reason ? reason : "out of memory",
		       data && data[0] ? ": " : "", data ? data : "");
	ERR_clear_error();
	return -EINVAL;
}
