#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# LABELS: quick
"""guestmem fills ranges as asked, and judges files by their contents, whether they have holes or zeros."""

import json
import os
import shutil
import struct
import subprocess

import migd_guestmem
import migdtest
from migd_process import program

MIB = 1 << 20
SIZE = 8 * MIB


def guestmem(*args, status=0):
    """The JSON that it prints, or what it complains about when a failure is expected."""
    done = subprocess.run([program("guestmem"), *map(str, args)], capture_output=True, text=True, check=False)
    if done.returncode != status:
        raise AssertionError(f"guestmem {args}: status {done.returncode}, not {status}: {done.stdout}{done.stderr}")
    return json.loads(done.stdout) if done.stdout else done.stderr


def new_file(t, name):
    path = os.path.join(t.shm, name)
    with open(path, "wb") as f:
        f.truncate(SIZE)
    return path


def test_filled_range_is_allocated_and_no_other(t):
    path = new_file(t, "a")
    for i, how in enumerate(("random", "zeros", "pattern")):
        guestmem("fill", path, f"{2 * i}M", f"{2 * i + 1}M", how)
    blocks = guestmem("blocks", path)
    t.check(blocks == {"size_bytes": SIZE, "allocated_bytes": 3 * MIB, "data_extents": 3}, f"{blocks}")
    t.check(guestmem("sum", path)["nonzero_pages"] == 2 * MIB // 4096, "zeros are no contents")


def test_holes_equal_zeros(t):
    a, b = new_file(t, "a"), new_file(t, "b")
    for path in a, b:
        guestmem("fill", path, "1M", "3M", "random", 7)
    guestmem("fill", b, "4M", "6M", "zeros")
    t.check(guestmem("sum", a) == guestmem("sum", b), "sums are of contents")
    t.check(guestmem("compare", a, b) == {"different_pages": 0}, "so are comparisons")
    t.check(guestmem("blocks", a)["allocated_bytes"] == 2 * MIB, "looking allocates nothing")


def test_one_byte_is_seen(t):
    a, b = new_file(t, "a"), new_file(t, "b")
    guestmem("fill", a, 0, "8M", "random")
    shutil.copyfile(a, b)
    with open(b, "r+b") as f:
        f.seek(5 * MIB + 12)
        byte = f.read(1)[0]
        f.seek(5 * MIB + 12)
        f.write(bytes([byte ^ 1]))
    t.check(guestmem("sum", a)["sum"] != guestmem("sum", b)["sum"], "the sums differ")
    t.check(guestmem("compare", a, b, status=1) == {"different_pages": 1}, "one page differs")
    t.check(guestmem("compare", a, b, 0, "5M") == {"different_pages": 0}, "none below it does")


def test_same_page_elsewhere_is_another_sum(t):
    a, b = new_file(t, "a"), new_file(t, "b")
    for path, page in ((a, 1), (b, 2)):
        with open(path, "r+b") as f:
            f.seek(page * 4096)
            f.write(b"x" * 4096)
    t.check(guestmem("sum", a)["sum"] != guestmem("sum", b)["sum"], "the place counts")


def test_result_page_is_shown(t):
    path = new_file(t, "a")
    t.check("no payload" in guestmem("result", path, status=1), "memory without a payload is refused")
    with open(path, "r+b") as f:
        f.seek(migd_guestmem.RESULT_GPA)
        f.write(struct.pack("<IIQQQ8Q128s", migd_guestmem.MAGIC, migd_guestmem.FAILED, 12, 34, 5, *range(8), b"page"))
    t.check(guestmem("result", path) == {"status": "failed", "heartbeat": 12, "checks": 34, "failures": 5,
                                         "text": "page", "detail": list(range(8))}, "as it is in memory")


def test_bad_arguments_are_named(t):
    path = new_file(t, "a")
    t.check("'nonsense'" in guestmem("fill", path, 0, "4K", "nonsense", status=2), "kind of contents")
    t.check("expected page-aligned" in guestmem("sum", path, 5, status=1), "start of a range")
    t.check("expected page-aligned" in guestmem("sum", path, 0, "9M", status=1), "end of a range")
    t.check("No such file" in guestmem("sum", path + "x", status=1), "file")
    t.check("usage" in guestmem("frobnicate", status=2), "command")


migdtest.main(kvm=False)
