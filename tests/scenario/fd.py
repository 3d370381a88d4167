#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# LABELS: kvm
# TIMEOUT: 240
"""Streams over descriptors that a client passes."""

import os
import socket

from migd_qmp import QmpError
from migd_scenario import main, scenario

NAME = "fd-mig"
NOT_FOUND = "File descriptor named 'fd-mig' not found"


def pass_fd(daemon, fd):
    """getfd, with the descriptor; ours is closed."""
    daemon.qmp.command("getfd", {"fdname": NAME}, fds=[fd])
    os.close(fd)


def check_consumed(s):
    """The migration took the descriptors: neither side has one of that name any more."""
    for daemon in (s.a, s.b):
        try:
            daemon.qmp.command("closefd", {"fdname": NAME})
        except QmpError as e:
            s.check(e.desc == NOT_FOUND, f"closefd says {e.desc!r}")
        else:
            raise AssertionError(f"{daemon.label} still had {NAME}")


@scenario("precopy/fd/tcp")
def precopy_fd_tcp(s):
    s.start()
    ours, theirs = socket.socketpair()
    pass_fd(s.a, ours.detach())
    pass_fd(s.b, theirs.detach())
    s.precopy(f"fd:{NAME}", live=True)
    check_consumed(s)


main()
