#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# LABELS: kvm
# TIMEOUT: 240
"""Pre-copy over sockets."""

from migd_scenario import main, scenario


@scenario("precopy/unix/plain")
def precopy_unix_plain(s):
    s.start()
    s.precopy(s.unix_uri(), live=True)


@scenario("precopy/tcp/plain")
def precopy_tcp_plain(s):
    s.start()
    s.precopy("tcp:127.0.0.1:0", live=False)


main()
