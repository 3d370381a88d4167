#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# LABELS: kvm
# TIMEOUT: 240
"""Pre-copy over a socket that a client passes."""

import socket

from migd_scenario import main, scenario
from scenario_fd import check_consumed, pass_fd


@scenario("precopy/fd/tcp")
def precopy_fd_tcp(s):
    s.start()
    ours, theirs = socket.socketpair()
    pass_fd(s.a, ours.detach())
    pass_fd(s.b, theirs.detach())
    s.precopy("fd:fd-mig", live=True)
    check_consumed(s)


main()
