#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# LABELS: kvm
# TIMEOUT: 240
"""Pages over parallel channels."""

from migd_process import wait_until
from migd_scenario import PATIENCE, main, scenario

CHANNELS = 4


def start(s, channels=CHANNELS, postcopy=False, **parameters):
    s.start()
    for side in (s.src, s.dst):
        turn_on(s, side, channels, postcopy, **parameters)


def turn_on(s, side, channels=CHANNELS, postcopy=False, **parameters):
    s.capabilities(side, "multifd", *["postcopy-ram"] * postcopy)
    s.set(side, multifd_channels=channels, **parameters)


def check_used(s):
    ram = s.src.migration()["ram"]
    s.check(ram["multifd-bytes"] > 0, f"the channels were used: {ram}")


@scenario("multifd/tcp/uri/plain/none")
def multifd_uri(s):
    start(s, multifd_compression="none")
    s.precopy("tcp:127.0.0.1:0")
    check_used(s)


@scenario("multifd/tcp/channels/plain/none")
def multifd_channels(s):
    start(s, multifd_compression="none")
    uri = s.listen("tcp:127.0.0.1:0")
    address = {"transport": "socket", "type": "inet", "host": "127.0.0.1", "port": uri.rpartition(":")[2]}
    s.precopy(connect={"channels": [{"channel-type": "main", "addr": address}]})
    check_used(s)


@scenario("multifd/tcp/plain/zero-page/legacy", detection="legacy")
@scenario("multifd/tcp/plain/zero-page/none", detection="none")
def multifd_zero_pages(s, detection):
    start(s)
    s.set(s.src, zero_page_detection=detection)
    s.precopy("tcp:127.0.0.1:0")
    check_used(s)


@scenario("multifd/tcp/plain/cancel")
@scenario("multifd+postcopy/tcp/plain/cancel", postcopy=True)
def multifd_cancel(s, postcopy=False):
    """A fresh destination takes the guest after the first one lost its migration to a cancel. Nothing switches to post-copy."""
    start(s, channels=16, postcopy=postcopy)
    uri = s.listen("tcp:127.0.0.1:0", exit_on_error=True)
    s.mark()
    s.slow(s.src)
    s.go(uri)
    s.wait_dirty()
    s.src.command("migrate_cancel")
    s.check_destination_quit()
    s.wait_status(s.src, "cancelled")
    wait_until(lambda: not (s.b.guest(s.dst.name) or {}).get("attached"), "the first destination is gone", PATIENCE)

    turn_on(s, s.start_destination(), channels=16, postcopy=postcopy)
    uri = s.listen("tcp:127.0.0.1:0", exit_on_error=True)
    s.slow(s.src)
    s.go(uri)
    s.wait_dirty()
    s.fast(s.src)
    s.wait_seen(s.src, "STOP")
    s.finish()


main()
