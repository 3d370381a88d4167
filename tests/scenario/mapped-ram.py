#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# LABELS: kvm
# TIMEOUT: 240
"""Migration to a file in which each page has its place, and from it: by one channel and several, with direct I/O."""

import os

from migd_scenario import main, scenario
from scenario_file import OFFSET, check_head, fill_head

BITMAP_HEADER = 28


def path_of(s):
    return os.path.join(s.dir, "migfile")


def start(s, multifd=False, direct_io=False):
    s.start()
    for side in (s.src, s.dst):
        s.capabilities(side, "mapped-ram", *(["multifd"] if multifd else []))
        if multifd:
            s.set(side, multifd_channels=4)
        if direct_io:
            s.set(side, direct_io=True)


def check_file(s, path):
    """Pages have their places: the file is as long as memory, at least, and not all of it is there."""
    st = os.stat(path)
    s.check(st.st_size > 128 << 20, f"the file has {st.st_size} bytes")
    s.check(st.st_blocks * 512 < 110 << 20, f"what was never touched takes room: {st.st_blocks * 512} bytes")


@scenario("precopy/file/mapped-ram", stopped=True)
@scenario("precopy/file/mapped-ram/live", stopped=False)
def mapped_ram(s, stopped):
    start(s)
    s.file(f"file:{path_of(s)}", stopped=stopped)
    check_file(s, path_of(s))


main()
