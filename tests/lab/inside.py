# SPDX-License-Identifier: Apache-2.0
"""For tests that need the lab: start the same test again in there, with the same source and build folders."""

import os
import sys

from migd_process import BUILD_DIR, SOURCE_DIR

# Software emulation: what takes a second elsewhere takes this many.
SLOW = 10
# Until the machine runs, and from the test's own time limit to the machine's.
BOOT_SECONDS = 120


def enter(timeout):
    """Returns in the lab only; outside, runs this program in it, for so many seconds, and exits with its status."""
    if os.environ.get("MIGD_LAB"):
        return
    if os.environ.get("MIGD_SANITIZE"):
        print(f"{os.path.basename(sys.argv[0])}: SKIPPED: sanitizers are too slow in the lab")
        sys.exit(77)
    sys.stdout.flush()
    os.environ.update(MIGD_BUILD_DIR=BUILD_DIR, MIGD_SOURCE_DIR=SOURCE_DIR, MIGD_TEST_SLOW=str(SLOW),
                      MIGD_TEST_TIMEOUT=str(timeout))
    lab = os.path.join(os.path.dirname(__file__), "lab")
    os.execv(sys.executable, [sys.executable, lab, "--share", SOURCE_DIR, "--share", BUILD_DIR, "--timeout",
                              str(timeout + BOOT_SECONDS), "--", "python3", *sys.argv])
