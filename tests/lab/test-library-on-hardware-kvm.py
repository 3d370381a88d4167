#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# LABELS: lab
# TIMEOUT: 1500
"""The C tests of the library and of the payloads, which run guests, pass on the lab's KVM, too."""

import glob
import os
import subprocess

import inside
import migdtest
from migd_process import BUILD_DIR

SECONDS_EACH = 300
SKIPPED = 77


def run(pattern):
    programs = sorted(glob.glob(os.path.join(BUILD_DIR, "tests", pattern)))
    if not programs:
        raise AssertionError(f"{BUILD_DIR}/tests has no {pattern}: build first (scripts/build)")
    failed = []
    for program in programs:
        done = subprocess.run([program], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                              timeout=SECONDS_EACH, errors="replace")
        print(f"{os.path.basename(program)}: status {done.returncode}", flush=True)
        if done.returncode not in (0, SKIPPED):
            print(done.stdout)
            failed.append(os.path.basename(program))
    if failed:
        raise AssertionError(f"failed: {', '.join(failed)}")


def test_x86(_t):
    run("test-x86-*")


def test_guest(_t):
    run("test-guest-*")


def test_payloads(_t):
    run("test-payloads-*")


inside.enter(timeout=1000)
migdtest.main()
