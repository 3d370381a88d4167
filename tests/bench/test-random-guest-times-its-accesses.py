#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# LABELS: kvm
"""bench/guest/random.S touches every page of its working set and counts how long each access took."""
import os
import sys
import tempfile
import time
import unittest

ROOT = os.environ.get("MIGD_SOURCE_DIR") or os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BUILD = os.environ.get("MIGD_BUILD_DIR") or os.path.join(ROOT, "build", "debug")
sys.path.insert(0, os.path.join(ROOT, "bench"))
sys.dont_write_bytecode = True

from lib import guest, pair, proc, programs  # noqa: E402

PAGES = 3000  # no power of two
SECONDS = 60


def wait_until(done):
    deadline = time.monotonic() + SECONDS
    while not done():
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {SECONDS} s")
        time.sleep(0.05)


class RandomGuest(unittest.TestCase):
    def setUp(self):
        if not os.access("/dev/kvm", os.R_OK | os.W_OK):
            print("no access to /dev/kvm")
            sys.exit(77)
        directory = tempfile.TemporaryDirectory(dir="/dev/shm")
        self.addCleanup(directory.cleanup)
        self.ram = os.path.join(directory.name, "ram")
        sector = guest.Images(directory.name).boot_sector(PAGES * guest.PAGE, "random")
        vmm = proc.Process([programs.find(BUILD, ["migd-vmm"])["migd-vmm"], "--name", "random", "--cpus", "1",
                            "--memory", "64M", "--memory-file", self.ram, "--boot-sector", sector,
                            "--attach-listen", f"{directory.name}/attach"], f"{directory.name}/log")
        self.addCleanup(vmm.end)
        wait_until(lambda: vmm.last_words() or os.path.exists(self.ram) and os.stat(self.ram).st_size == 64 << 20)
        self.assertIsNone(vmm.last_words())
        pair.wait_heartbeat(self.ram, SECONDS)

    def page(self, number):
        with open(self.ram, "rb", buffering=0) as f:
            return os.pread(f.fileno(), 1, guest.WORK_START + number * guest.PAGE)[0]

    def test_every_page_is_touched_and_none_beyond(self):
        # A round is some microseconds to milliseconds long; a page's byte is 0 again for one round in 256.
        touched = set()

        def look():
            touched.update(n for n in range(PAGES) if self.page(n))
            return len(touched) == PAGES

        wait_until(look)
        self.assertFalse([n for n in range(PAGES, PAGES + 2000) if self.page(n)])

    def test_each_access_is_counted_once(self):
        before, first = guest.tick_counts(self.ram), guest.heartbeat(self.ram)
        self.assertGreater(guest.clock_hz(self.ram), 1e8)
        counted = sum(guest.tick_counts(self.ram)) - sum(before)
        went_round = guest.heartbeat(self.ram) - first
        # The four readings are not of one moment.
        self.assertGreater(counted, 0)
        self.assertTrue(0.5 < counted / went_round < 2, (counted, went_round))


class Lengths(unittest.TestCase):
    """The other side of the counting: which length has which number."""

    @staticmethod
    def number_of(ticks):
        shift = ticks.bit_length() - 5
        return guest.PARTS * shift + (ticks >> shift)

    def test_lengths_are_within_a_part(self):
        for ticks in (16, 17, 31, 32, 33, 1000, 123456, (1 << 32) - 1):
            self.assertAlmostEqual(guest.ticks_of(self.number_of(ticks)) / ticks, 1, delta=1 / guest.PARTS)
        self.assertEqual(self.number_of((1 << 32) - 1), guest.N_COUNTS - 1)

    def test_the_longest_are_taken_from_above(self):
        before, after = [0] * guest.N_COUNTS, [0] * guest.N_COUNTS
        before[100], after[100], after[200], after[300] = 5, 25, 3, 1
        self.assertEqual(guest.longest_accesses(before, after, 6),
                         [guest.ticks_of(n) for n in (100, 100, 200, 200, 200, 300)])
        self.assertEqual(guest.longest_accesses(before, after, 0), [])


if __name__ == "__main__":
    unittest.main()
