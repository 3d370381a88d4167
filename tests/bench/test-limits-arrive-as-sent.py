#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# LABELS: quick
"""bench/limits: each receive method delivers what was sent, the zero scan counts, faults are timed, bad input is refused."""
import os
import sys
import tempfile
import unittest

ROOT = os.environ.get("MIGD_SOURCE_DIR") or os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BUILD = os.environ.get("MIGD_BUILD_DIR", os.path.join(ROOT, "build", "release"))
sys.path.insert(0, os.path.join(ROOT, "bench"))
sys.dont_write_bytecode = True

from lib import limits, memory, programs  # noqa: E402

SIZE = 16 << 20
METHODS = {"splice", "pwrite", "uffd-copy", "mapped-read", "pages-pwritev"}


class Limits(unittest.TestCase):
    def setUp(self):
        self.program = programs.find(BUILD, ["limits"])["limits"]
        directory = tempfile.TemporaryDirectory(dir="/dev/shm")
        self.addCleanup(directory.cleanup)
        self.ram = os.path.join(directory.name, "ram")

    def test_each_method_delivers_what_was_sent(self):
        # 4 KiB short of a whole number of buffers: the last piece is a partial one.
        memory.random_file(self.ram, SIZE - 4096)
        results = limits.transfer(self.program, self.ram)
        # UFFDIO_COPY needs a privilege that a test may not have.
        self.assertLessEqual({r["method"] for r in results} ^ METHODS, {"uffd-copy"})
        self.assertTrue(all(r["same"] for r in results))

    def test_several_connections_deliver_it_together(self):
        # 1 and 3 pages do not divide evenly.
        for pages, connections in ((SIZE // 4096 + 1, 2), (SIZE // 4096 + 3, 16)):
            memory.random_file(self.ram, pages * 4096)
            results = limits.transfer(self.program, self.ram, connections)
            self.assertLessEqual({r["method"] for r in results} ^ METHODS, {"uffd-copy"})
            self.assertTrue(all(r["same"] for r in results))

    def test_connections_are_counted_from_one(self):
        memory.random_file(self.ram, 4096)
        for connections in (0, 17):
            with self.assertRaisesRegex(limits.LimitError, "usage"):
                limits.transfer(self.program, self.ram, connections)

    def test_cipher_rate_is_a_rate(self):
        self.assertGreater(limits.cipher_gbps(), 0.01)

    def test_two_rates_one_after_the_other(self):
        self.assertAlmostEqual(limits.one_after_the_other(3, 6), 2)

    def test_zero_scan_counts_zero_pages(self):
        memory.zero_file(self.ram, SIZE)
        with open(self.ram, "r+b") as f:
            f.seek(SIZE - 1)
            f.write(b"\1")
        self.assertEqual(limits.zero_scan(self.program, self.ram)["zero_pages"], SIZE // 4096 - 1)

    def test_faults_are_answered_and_timed(self):
        if os.geteuid() != 0:
            self.skipTest("userfaultfd for kernel faults needs a privilege: run as root")
        result = limits.fault(self.program, 100)
        self.assertEqual(result["faults"], 100)
        self.assertTrue(0 < result["p50_us"] <= result["p99_us"], result)

    def test_number_of_faults_is_checked(self):
        for n in (0, 1000001, "many"):
            with self.assertRaisesRegex(limits.LimitError, "is no number of faults: 1 to 1000000"):
                limits.fault(self.program, n)

    def test_file_of_partial_pages_is_refused(self):
        memory.random_file(self.ram, 4097)
        with self.assertRaisesRegex(limits.LimitError, "a tmpfs file of whole pages is needed"):
            limits.transfer(self.program, self.ram)


if __name__ == "__main__":
    unittest.main()
