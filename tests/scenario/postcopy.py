#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# LABELS: kvm
# TIMEOUT: 240
"""Post-copy: the guest goes on at the destination before all of its memory is there."""

import migd_tls
from migd_scenario import main, scenario


def postcopy(s, preempt=False, multifd=False, tls=False, **options):
    s.start(**options)
    names = ["postcopy-ram", "postcopy-blocktime"] + ["postcopy-preempt"] * preempt + ["multifd"] * multifd
    for side in s.src, s.dst:
        s.capabilities(side, *names)
        if multifd:
            s.set(side, multifd_channels=4)
    if tls:
        migd_tls.psk(s, s.src, s.dst)
    s.postcopy(suspended=bool(options.get("suspend_after")))
    if tls:
        encrypted = 1 + preempt + 4 * multifd
        for daemon in s.a, s.b:
            n = daemon.log_text().count("connection is encrypted: TLS")
            s.check(n == encrypted, f"{daemon.label}: {n} connections of {encrypted} were encrypted")
    if multifd:
        ram = s.src.migration()["ram"]
        s.check(ram["multifd-bytes"] > 0, f"the channels were used: {ram}")


@scenario("postcopy/plain")
@scenario("postcopy/preempt/plain", preempt=True)
@scenario("multifd+postcopy/plain", multifd=True)
@scenario("multifd+postcopy/preempt/plain", multifd=True, preempt=True)
@scenario("postcopy/tls/psk", tls=True)
@scenario("postcopy/preempt/tls/psk", tls=True, preempt=True)
def postcopy_runs(s, **options):
    postcopy(s, **options)


@scenario("postcopy/suspend")
def postcopy_suspend(s):
    """The guest sleeps when it is moved, and is woken on the destination."""
    postcopy(s, suspend_after=1)


main()
