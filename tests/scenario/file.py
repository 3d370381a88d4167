#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# LABELS: kvm
# TIMEOUT: 240
"""Migration to a file, and from it: by its name, with an offset, as descriptors."""

import os

from migd_qmp import QmpError
from migd_scenario import main, scenario
from scenario_fd import check_consumed, pass_fd
from scenario_file import OFFSET, check_head, fill_head


def path_of(s):
    return os.path.join(s.dir, "migfile")


@scenario("precopy/file")
def precopy_file(s):
    s.start()
    path = path_of(s)
    s.file(f"file:{path}", stopped=True)
    s.check(os.stat(path).st_mode & 0o7777 == 0o600, f"its mode is {os.stat(path).st_mode:o}")
    s.check(os.listdir(os.path.dirname(path)).count("migfile") == 1, "it is there")
    s.check(not [n for n in os.listdir(s.dir) if n.endswith(".part")], f"nothing else is left: {os.listdir(s.dir)}")


@scenario("precopy/file/offset")
def precopy_file_offset(s):
    s.start()
    path = path_of(s)
    fill_head(path)
    s.file(f"file:{path},offset={OFFSET}", stopped=False)
    check_head(s, path)


@scenario("precopy/file/offset/fdset")
def precopy_file_offset_fdset(s):
    s.start()
    path = path_of(s)
    fill_head(path)
    for daemon, flags in ((s.a, os.O_WRONLY), (s.b, os.O_RDONLY)):
        fd = os.open(path, flags)
        daemon.qmp.command("add-fd", {"fdset-id": 1}, fds=[fd])
        os.close(fd)
    s.file(f"file:/dev/fdset/1,offset={OFFSET}", stopped=False)
    check_head(s, path)


@scenario("precopy/file/offset/bad")
def precopy_file_offset_bad(s):
    s.start()
    try:
        s.go(f"file:{path_of(s)},offset=0x20M")
    except QmpError as e:
        s.check("offset" in e.desc, f"the error is {e}")
    else:
        raise AssertionError("a bad offset was accepted")
    s.check(not s.states(s.src) and not os.path.exists(path_of(s)), "nothing began")
    s.assert_untouched(s.src)


@scenario("precopy/fd/file")
def precopy_fd_file(s):
    s.start()
    path = path_of(s)
    pass_fd(s.a, os.open(path, os.O_CREAT | os.O_RDWR, 0o660))
    pass_fd(s.b, os.open(path, os.O_RDWR))
    s.file("fd:fd-mig", stopped=True)
    check_consumed(s)


main()
