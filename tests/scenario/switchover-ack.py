#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# LABELS: kvm
# TIMEOUT: 240
"""Pre-copy whose source waits for the destination's word before it stops the guest."""

from migd_scenario import main, scenario


@scenario("precopy/tcp/plain/switchover-ack")
def precopy_tcp_plain_switchover_ack(s):
    s.start()
    for side in (s.src, s.dst):
        s.capabilities(side, "return-path", "switchover-ack")
    s.precopy("tcp:127.0.0.1:0", live=True)


main()
