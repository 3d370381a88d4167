#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# LABELS: quick
"""bench/gapwatch: a counter that moves in one file, rests, and goes on in the other, is seen to do just that."""
import os
import struct
import sys
import tempfile
import time
import unittest

ROOT = os.environ.get("MIGD_SOURCE_DIR") or os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BUILD = os.environ.get("MIGD_BUILD_DIR", os.path.join(ROOT, "build", "release"))
sys.path.insert(0, os.path.join(ROOT, "bench"))
sys.dont_write_bytecode = True

from lib import guest, memory, programs, watch  # noqa: E402

SIZE = 1 << 20
PAUSE_S = 0.2


class Gapwatch(unittest.TestCase):
    def setUp(self):
        self.program = programs.find(BUILD, ["gapwatch"])["gapwatch"]
        directory = tempfile.TemporaryDirectory(dir="/dev/shm")
        self.addCleanup(directory.cleanup)
        self.directory = directory.name
        self.files = [memory.hole_file(os.path.join(self.directory, name), SIZE) for name in ("source", "target")]

    def count(self, path, first, last):
        with open(path, "r+b", buffering=0) as f:
            for value in range(first, last):
                os.pwrite(f.fileno(), struct.pack("<I", value), guest.HEARTBEAT)
                time.sleep(0.001)

    def start(self):
        watcher = watch.Watcher(self.program, *self.files, self.directory)
        self.addCleanup(watcher.process.end)
        # It polls once its real-time priority is set; until then its reads of nothing do no harm.
        time.sleep(0.2)
        return watcher

    def test_pause_between_the_files_is_the_longest_gap(self):
        watcher = self.start()
        began = time.monotonic()
        self.count(self.files[0], 1, 50)
        time.sleep(PAUSE_S)
        self.count(self.files[1], 50, 100)
        length, _ = watch.longest_gap(watcher.stop(), began)
        self.assertGreaterEqual(length, PAUSE_S * 1e3)

    def test_pause_at_the_switch_is_told_from_one_after_it(self):
        watcher = self.start()
        self.count(self.files[0], 1, 50)
        time.sleep(PAUSE_S)
        self.count(self.files[1], 50, 100)
        time.sleep(2 * PAUSE_S)
        self.count(self.files[1], 100, 150)
        seen = watcher.stop()
        self.assertGreaterEqual(watch.switch_gap(seen)[0], PAUSE_S * 1e3)
        self.assertGreaterEqual(watch.longest_gap_after_switch(seen)[0], 2 * PAUSE_S * 1e3)

    def test_older_copy_in_the_target_is_no_switch(self):
        watcher = self.start()
        self.count(self.files[0], 1, 50)
        self.count(self.files[1], 20, 21)
        self.count(self.files[0], 50, 100)
        seen = watcher.stop()
        for told in (watch.switch_gap, watch.longest_gap_after_switch):
            with self.assertRaisesRegex(watch.WatchError, "does not run there"):
                told(seen)

    def test_target_that_never_ran_is_an_error(self):
        watcher = self.start()
        self.count(self.files[0], 1, 50)
        with self.assertRaisesRegex(watch.WatchError, "does not run there"):
            watch.longest_gap(watcher.stop(), 0)

    def test_watching_allocates_nothing(self):
        watcher = self.start()
        self.count(self.files[0], 1, 50)
        watcher.stop()
        self.assertEqual(memory.allocated(self.files[1]), 0)

    def test_missing_file_is_named(self):
        self.files[1] = os.path.join(self.directory, "nothing")
        watcher = self.start()
        with self.assertRaisesRegex(watch.WatchError, "nothing.*No such file"):
            watcher.stop()


if __name__ == "__main__":
    unittest.main()
