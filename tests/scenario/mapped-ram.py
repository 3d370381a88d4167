#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# LABELS: kvm
# TIMEOUT: 240
"""Migration to a file in which each page has its place, and from it: by one channel and several, with direct I/O."""

import os

from migd_mapped import PAGE, Mapped, need_direct_io
from migd_scenario import REGION_START, main, scenario
from scenario_file import OFFSET, check_head, fill_head

def path_of(s):
    return os.path.join(s.dir, "migfile")


def start(s, multifd=False, direct_io=False):
    if direct_io:
        need_direct_io(s)
    s.start()
    for side in (s.src, s.dst):
        s.capabilities(side, "mapped-ram", *(["multifd"] if multifd else []))
        if multifd:
            s.set(side, multifd_channels=4)
        if direct_io:
            s.set(side, direct_io=True)


def check_places(s, path, offset=0):
    """Pages have their places: the file is as long as memory, at least, and not all of it is there."""
    mapped, st = Mapped(path, offset), os.stat(path)
    s.check(mapped.version == 1 and mapped.page_size == PAGE, f"its header says {mapped.version}, {mapped.page_size}")
    s.check(mapped.pages_offset % (1 << 20) == 0 and st.st_size >= mapped.end, f"pages are at {mapped.pages_offset}")
    s.check(st.st_blocks * 512 < 110 << 20, f"what was never touched takes room: {st.st_blocks * 512} bytes")
    s.check(mapped.page(REGION_START // PAGE) != bytes(PAGE), "the guest's pages are there")


@scenario("precopy/file/mapped-ram", stopped=True)
@scenario("precopy/file/mapped-ram/live", stopped=False)
@scenario("multifd/file/mapped-ram", stopped=True, multifd=True)
@scenario("multifd/file/mapped-ram/live", stopped=False, multifd=True)
@scenario("multifd/file/mapped-ram/dio", stopped=True, multifd=True, direct_io=True)
def mapped_ram(s, stopped, **how):
    start(s, **how)
    s.file(f"file:{path_of(s)}", stopped=stopped)
    check_places(s, path_of(s))


@scenario("multifd/file/mapped-ram/fdset")
@scenario("multifd/file/mapped-ram/fdset/dio", direct_io=True)
def fdset(s, direct_io=False):
    start(s, multifd=True, direct_io=direct_io)
    path = path_of(s)
    fill_head(path)
    for daemon, flags in ((s.a, os.O_WRONLY), (s.b, os.O_RDONLY)):
        for more in (0, os.O_DIRECT if direct_io else 0):
            fd = os.open(path, flags | more)
            daemon.qmp.command("add-fd", {"fdset-id": 1}, fds=[fd])
            os.close(fd)
    s.file(f"file:/dev/fdset/1,offset={OFFSET}", stopped=True)
    check_head(s, path)
    check_places(s, path, OFFSET)
    s.a.qmp.command("remove-fd", {"fdset-id": 1})
    s.check(s.a.qmp.command("query-fdsets") == [], "no set of descriptors is left")


main()
