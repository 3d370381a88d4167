# SPDX-License-Identifier: Apache-2.0
"""Scenarios with a descriptor that was given the name fd-mig on both sides."""

import os

from migd_qmp import QmpError

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
