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


def start(s, multifd=False, postcopy=False):
    s.start()
    for side in (s.src, s.dst):
        if postcopy:
            s.capabilities(side, "postcopy-ram")
        if multifd:
            s.capabilities(side, "multifd")
            s.set(side, multifd_channels=4)


def precopy(s, uri, channels=1):
    """PRE; every connection of it was under TLS, as both workers said."""
    s.precopy(uri, live=True)
    for daemon in (s.a, s.b):
        n = daemon.log_text().count("connection is encrypted: TLS")
        s.check(n == channels, f"{daemon.label}: {n} connections of {channels} were encrypted")


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
    start(s)
    migd_tls.psk(s, s.src, s.dst)
    precopy(s, TCP)


@scenario("precopy/tcp/tls/psk/mismatch")
def psk_mismatch(s):
    start(s)
    migd_tls.psk(s, s.src, s.dst, match=False)
    fail_keep(s, TCP, "TLS")


@scenario("precopy/unix/tls/psk")
def psk_unix(s):
    start(s)
    migd_tls.psk(s, s.src, s.dst)
    precopy(s, s.unix_uri())


# Certificates.

@scenario("precopy/unix/tls/x509/default-host")
def x509_unix_default_host(s):
    start(s)
    migd_tls.x509(s, s.src, s.dst, ["IP:127.0.0.1"])
    fail_quit(s, s.unix_uri(), "tls-hostname")


@scenario("precopy/unix/tls/x509/override-host")
def x509_unix_override_host(s):
    start(s)
    migd_tls.x509(s, s.src, s.dst, ["DNS:qemu.org"], hostname="qemu.org")
    precopy(s, s.unix_uri())


@scenario("precopy/tcp/tls/x509/default-host")
@scenario("multifd/tcp/tls/x509/default-host", multifd=True)
def x509_default_host(s, multifd=False):
    start(s, multifd)
    migd_tls.x509(s, s.src, s.dst, ["IP:127.0.0.1"])
    precopy(s, TCP, channels=5 if multifd else 1)


@scenario("precopy/tcp/tls/x509/override-host")
@scenario("multifd/tcp/tls/x509/override-host", multifd=True)
def x509_override_host(s, multifd=False):
    start(s, multifd)
    migd_tls.x509(s, s.src, s.dst, ["DNS:qemu.org"], hostname="qemu.org")
    precopy(s, TCP, channels=5 if multifd else 1)


@scenario("precopy/tcp/tls/x509/mismatch-host", end=fail_quit)
@scenario("multifd/tcp/tls/x509/mismatch-host", end=fail_keep, multifd=True)
def x509_mismatch_host(s, end, multifd=False):
    start(s, multifd)
    migd_tls.x509(s, s.src, s.dst, ["IP:10.0.0.1"])
    end(s, TCP, "127.0.0.1")


@scenario("precopy/tcp/tls/x509/friendly-client")
def x509_friendly_client(s):
    start(s)
    migd_tls.x509(s, s.src, s.dst, ["IP:127.0.0.1"],
                  authz={"kind": "authz-simple", "identity": migd_tls.CLIENT[1]})
    precopy(s, TCP)


@scenario("precopy/tcp/tls/x509/hostile-client")
def x509_hostile_client(s):
    start(s)
    migd_tls.x509(s, s.src, s.dst, ["IP:127.0.0.1"], subject="/O=migd tests/CN=hostile",
                  authz={"kind": "authz-simple", "identity": migd_tls.CLIENT[1]})
    fail_keep(s, TCP)
    s.check("a client may not connect dn='O=migd tests,CN=hostile'" in s.b.log_text(), "the destination names the client")


@scenario("precopy/tcp/tls/x509/allow-anon-client")
@scenario("multifd/tcp/tls/x509/allow-anon-client", multifd=True)
def x509_allow_anon_client(s, multifd=False):
    start(s, multifd)
    migd_tls.x509(s, s.src, s.dst, ["IP:127.0.0.1"], client=False, verify_client=False)
    precopy(s, TCP, channels=5 if multifd else 1)


@scenario("precopy/tcp/tls/x509/reject-anon-client")
@scenario("multifd/tcp/tls/x509/reject-anon-client", multifd=True)
def x509_reject_anon_client(s, multifd=False):
    start(s, multifd)
    migd_tls.x509(s, s.src, s.dst, ["IP:127.0.0.1"], client=False)
    fail_keep(s, TCP)


# Parallel channels, each under TLS.

@scenario("multifd/tcp/tls/psk/match")
@scenario("multifd+postcopy/tcp/tls/psk/match", postcopy=True)
def multifd_psk_match(s, postcopy=False):
    """Nothing switches to post-copy."""
    start(s, multifd=True, postcopy=postcopy)
    migd_tls.psk(s, s.src, s.dst)
    precopy(s, TCP, channels=5)


@scenario("multifd/tcp/tls/psk/mismatch")
def multifd_psk_mismatch(s):
    start(s, multifd=True)
    migd_tls.psk(s, s.src, s.dst, match=False)
    fail_keep(s, TCP, "TLS")


main()
