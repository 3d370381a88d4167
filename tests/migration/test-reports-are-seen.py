#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# LABELS: kvm
"""What a sanitizer or valgrind says of a worker fails the test that started its daemon, however the migration ended."""

import re

import migd_reports
import migdtest

OF_FREED_MEMORY = r"Invalid read|heap-use-after-free"


def test_worker_that_reads_freed_memory(t):
    if not migd_reports.INSTRUMENTED:
        raise migdtest.Skip("neither a sanitizer nor valgrind looks at this build's processes")
    other = migdtest.Test("other")
    t.cleanup.callback(other.close)
    a, b = other.daemon("a", env={"MIGD_FAULT": "freed-memory-read"}), other.daemon("b")
    src = other.vmm(a, working_set="1M")
    dst = other.incoming(b, {"working_set": "1M"})
    other.start(src, dst)
    other.wait_end(src)
    try:
        other.insist_on_no_reports()
    except AssertionError as e:
        t.check(re.search(OF_FREED_MEMORY, str(e)), f"something else was found: {e}")
    else:
        raise AssertionError("nobody noticed what the worker did")


migdtest.main()
