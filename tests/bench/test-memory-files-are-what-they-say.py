#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# LABELS: quick
"""The benchmark's guest memory: allocated where it says, holes stay holes when copied, and a wrong page is found."""
import os
import sys
import tempfile
import unittest
import zlib

ROOT = os.environ.get("MIGD_SOURCE_DIR") or os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, os.path.join(ROOT, "bench"))
sys.dont_write_bytecode = True

from lib import ballast, memory  # noqa: E402

MIB = 1 << 20
SIZE = 64 * MIB
USED = 8 * MIB


class Memory(unittest.TestCase):
    def setUp(self):
        directory = tempfile.TemporaryDirectory(dir="/dev/shm")
        self.addCleanup(directory.cleanup)
        self.a, self.b = (os.path.join(directory.name, name) for name in "ab")

    def test_allocation_is_as_named(self):
        self.assertEqual(memory.allocated(memory.random_file(self.a, SIZE)), SIZE)
        self.assertEqual(memory.allocated(memory.zero_file(self.a, SIZE)), SIZE)
        self.assertEqual(memory.allocated(memory.hole_file(self.a, SIZE)), 0)
        self.assertEqual(memory.allocated(memory.scattered_file(self.a, SIZE, USED)), USED)
        self.assertEqual(os.stat(self.a).st_size, SIZE)

    def test_text_is_compressible_and_not_zero(self):
        memory.text_file(self.a, SIZE)
        with open(self.a, "rb") as f:
            data = f.read()
        self.assertEqual(memory.allocated(self.a), SIZE)
        self.assertLess(len(zlib.compress(data, 1)), SIZE // 2)
        self.assertTrue(all(any(data[at:at + 4096]) for at in range(0, SIZE, 4096)))

    def test_copy_keeps_holes_and_allocated_zeros(self):
        for make in (lambda p: memory.scattered_file(p, SIZE, USED), lambda p: memory.zero_file(p, SIZE)):
            make(self.a)
            memory.hole_file(self.b, SIZE)
            memory.copy_contents(self.a, self.b)
            self.assertEqual(memory.allocated(self.b), memory.allocated(self.a) - memory.GUEST_OWN)
            self.assertIsNone(memory.first_difference(self.a, self.b))

    def test_copy_leaves_what_the_vmm_wrote(self):
        memory.random_file(self.a, SIZE)
        memory.hole_file(self.b, SIZE)
        memory.copy_contents(self.a, self.b)
        with open(self.b, "rb") as f:
            self.assertEqual(f.read(memory.GUEST_OWN), bytes(memory.GUEST_OWN))

    def test_lost_contents_are_found(self):
        memory.random_file(self.a, SIZE)
        memory.hole_file(self.b, SIZE)
        self.assertEqual(memory.first_difference(self.a, self.b), memory.GUEST_OWN)

    def test_ballast_holds_one_page_in_128_and_goes_away(self):
        directory = os.path.dirname(self.a)
        with ballast.Ballast(directory, SIZE) as b:
            self.assertEqual(memory.allocated(b.path), SIZE // ballast.KEEP_ONE_IN)
        self.assertEqual(os.listdir(directory), [])


if __name__ == "__main__":
    unittest.main()
