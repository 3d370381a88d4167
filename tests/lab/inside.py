# SPDX-License-Identifier: Apache-2.0
"""For tests that need the lab: start the same test again in there, with the same source and build folders."""

import ctypes
import os
import shutil
import signal
import subprocess
import sys

import migd_qemu
from migd_process import BUILD_DIR, SOURCE_DIR

# Software emulation: what takes a second elsewhere takes this many.
SLOW = 10
# Until the machine runs, and from the test's own time limit to the machine's.
BOOT_SECONDS = 120


PR_SET_PDEATHSIG = 1


def _die_with_parent():
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)


def _run(argv, take):
    """Run the lab and hand each line of its output that `take` does not take on; returns its status."""
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True, errors="replace", preexec_fn=_die_with_parent) as lab:
        for line in lab.stdout:
            if not take(line):
                print(line, end="", flush=True)
    return lab.returncode


def _libraries(path):
    """What a program links, but for the C library, which has to be the lab's."""
    out = subprocess.run(["ldd", path], stdout=subprocess.PIPE, text=True, check=True).stdout
    found = [line.split()[2] for line in out.splitlines() if " => /" in line]
    return [lib for lib in found if not os.path.basename(lib).startswith(("libc.so", "libm.so"))]


def bring_qemu(version):
    """Outside: put that QEMU where migd_qemu finds it in the lab, with its libraries, which are not there."""
    if os.environ.get("MIGD_LAB"):
        return
    path, why = migd_qemu.program(version)
    if not path:
        print(f"{os.path.basename(sys.argv[0])}: QEMU's part will be skipped: {why}")
        return
    folder = os.path.join(BUILD_DIR, "lab-qemu")
    programs, libraries = os.path.join(folder, version, "usr/bin"), os.path.join(folder, version, "lib")
    for made in programs, libraries:
        os.makedirs(made, exist_ok=True)
    for file in _libraries(path):
        shutil.copy(file, libraries)
    shutil.copy(path, libraries)
    started = os.path.join(programs, os.path.basename(path))
    with open(started, "w") as f:
        f.write(f"#!/bin/sh\nLD_LIBRARY_PATH={libraries} exec {libraries}/{os.path.basename(path)} \"$@\"\n")
    os.chmod(started, 0o755)
    os.environ["MIGD_QEMU_DIR"] = folder


def enter(timeout, take=None, systemd=False):
    """Returns in the lab only; outside, runs this program in it, for so many seconds, and exits with its status.

    systemd: boot it, and be one of its services. take(line): called outside for each line of output, which is printed unless
    this says true. The lab cannot write to the folders it shares.
    """
    if os.environ.get("MIGD_LAB"):
        return
    if os.environ.get("MIGD_SANITIZE"):
        print(f"{os.path.basename(sys.argv[0])}: SKIPPED: sanitizers are too slow in the lab")
        sys.exit(77)
    sys.stdout.flush()
    os.environ.update(MIGD_BUILD_DIR=BUILD_DIR, MIGD_SOURCE_DIR=SOURCE_DIR, MIGD_TEST_SLOW=str(SLOW),
                      MIGD_TEST_TIMEOUT=str(timeout))
    lab = os.path.join(os.path.dirname(__file__), "lab")
    argv = [sys.executable, lab, *(["--systemd"] if systemd else []), "--share", SOURCE_DIR, "--share", BUILD_DIR,
            "--timeout", str(timeout + BOOT_SECONDS), "--", "python3", *sys.argv]
    if take:
        sys.exit(_run(argv, take))
    os.execv(sys.executable, argv)
