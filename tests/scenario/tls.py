#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# LABELS: kvm
# TIMEOUT: 240
"""Migrations under TLS, with pre-shared keys and with certificates.

The originals' guest loads from its first byte when a source refuses the certificate of a destination, which has completed
its handshake by then; so does this one.
"""

import migd_tls
from migd_scenario import main, scenario

TCP = "tcp:127.0.0.1:0"


def encrypted(s):
    """The migration that was, was under TLS: both workers said so, and none said anything else."""
    for daemon in (s.a, s.b):
        s.check("connection is encrypted: TLS" in daemon.log_text(), f"{daemon.label} does not say that it encrypted")


def precopy(s, uri):
    s.precopy(uri, live=True)
    encrypted(s)


def fail_keep(s, uri, *words):
    """FAIL-keep, for the reason that the error says."""
    s.slow(s.src)
    s.go(s.listen(uri))
    s.fail_keep()
    says(s, words)
    s.check(s.dst.command("query-status")["status"] == "inmigrate", f"{s.dst.command('query-status')}")


def fail_quit(s, uri, *words):
    s.slow(s.src)
    s.go(s.listen(uri))
    s.fail_quit()
    says(s, words)


def says(s, words):
    desc = s.src.migration()["error-desc"]
    for word in words:
        s.check(word in desc, f"the source's error {desc!r} does not say {word!r}")


# Pre-shared keys.

@scenario("precopy/tcp/tls/psk/match")
def psk_match(s):
    s.start()
    migd_tls.psk(s, s.src, s.dst)
    precopy(s, TCP)


@scenario("precopy/tcp/tls/psk/mismatch")
def psk_mismatch(s):
    s.start()
    migd_tls.psk(s, s.src, s.dst, match=False)
    fail_keep(s, TCP, "TLS")


@scenario("precopy/unix/tls/psk")
def psk_unix(s):
    s.start()
    migd_tls.psk(s, s.src, s.dst)
    precopy(s, s.unix_uri())


# Certificates.

@scenario("precopy/unix/tls/x509/default-host")
def x509_unix_default_host(s):
    s.start()
    migd_tls.x509(s, s.src, s.dst, ["IP:127.0.0.1"])
    fail_quit(s, s.unix_uri(), "tls-hostname")


@scenario("precopy/unix/tls/x509/override-host")
def x509_unix_override_host(s):
    s.start()
    migd_tls.x509(s, s.src, s.dst, ["DNS:qemu.org"], hostname="qemu.org")
    precopy(s, s.unix_uri())


@scenario("precopy/tcp/tls/x509/default-host")
def x509_default_host(s):
    s.start()
    migd_tls.x509(s, s.src, s.dst, ["IP:127.0.0.1"])
    precopy(s, TCP)


@scenario("precopy/tcp/tls/x509/override-host")
def x509_override_host(s):
    s.start()
    migd_tls.x509(s, s.src, s.dst, ["DNS:qemu.org"], hostname="qemu.org")
    precopy(s, TCP)


@scenario("precopy/tcp/tls/x509/mismatch-host")
def x509_mismatch_host(s):
    s.start()
    migd_tls.x509(s, s.src, s.dst, ["IP:10.0.0.1"])
    fail_quit(s, TCP, "127.0.0.1")


@scenario("precopy/tcp/tls/x509/friendly-client")
def x509_friendly_client(s):
    s.start()
    migd_tls.x509(s, s.src, s.dst, ["IP:127.0.0.1"],
                  authz={"kind": "authz-simple", "identity": migd_tls.CLIENT[1]})
    precopy(s, TCP)


@scenario("precopy/tcp/tls/x509/hostile-client")
def x509_hostile_client(s):
    s.start()
    migd_tls.x509(s, s.src, s.dst, ["IP:127.0.0.1"], subject="/O=migd tests/CN=hostile",
                  authz={"kind": "authz-simple", "identity": migd_tls.CLIENT[1]})
    fail_keep(s, TCP)
    s.check("a client may not connect dn='CN=hostile,O=migd tests'" in s.b.log_text(), "the destination names the client")


@scenario("precopy/tcp/tls/x509/allow-anon-client")
def x509_allow_anon_client(s):
    s.start()
    migd_tls.x509(s, s.src, s.dst, ["IP:127.0.0.1"], client=False, verify_client=False)
    precopy(s, TCP)


@scenario("precopy/tcp/tls/x509/reject-anon-client")
def x509_reject_anon_client(s):
    s.start()
    migd_tls.x509(s, s.src, s.dst, ["IP:127.0.0.1"], client=False)
    fail_keep(s, TCP)


main()
