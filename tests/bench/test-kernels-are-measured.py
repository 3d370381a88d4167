#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# LABELS: quick
"""bench/kernels measures each kernel that this CPU has, and the rows find their numbers in what it prints."""
import os
import sys
import unittest

ROOT = os.environ.get("MIGD_SOURCE_DIR") or os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BUILD = os.environ.get("MIGD_BUILD_DIR") or os.path.join(ROOT, "build", "debug")
sys.path.insert(0, os.path.join(ROOT, "bench"))
sys.dont_write_bytecode = True

from lib import limits, programs, rows  # noqa: E402


class Kernels(unittest.TestCase):
    def test_rows_find_their_numbers(self):
        found = limits.kernels(programs.find(BUILD, ["kernels"])["kernels"])
        metrics = {row.metric for row in rows.ROWS if row.scenario == "kernels"}
        self.assertLessEqual({"zero-scalar", "xbzrle-scalar", "xbzrle-decode"}, set(found))
        self.assertLessEqual(set(found), metrics)
        self.assertTrue(all(gbps > 0 for gbps in found.values()), found)


if __name__ == "__main__":
    unittest.main()
