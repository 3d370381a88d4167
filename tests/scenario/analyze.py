#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# LABELS: kvm interop
# TIMEOUT: 240
"""QEMU's own stream analyser reads what is written to a file."""

import json
import os
import subprocess
import sys

import migd_process
from migd_scenario import main, scenario
from migdtest import Skip

ANALYZER = os.path.join(migd_process.SOURCE_DIR, "build", "qemu", "analyze-migration.py")


@scenario("analyze-script")
def analyze_script(s):
    if not os.path.exists(ANALYZER):
        raise Skip(f"{ANALYZER} is not there: run scripts/fetch-analyzer")
    s.start(daemon={"extra": ["--allow-exec"]}, extra=["--uuid", "11111111-2222-3333-4444-555555555555"])
    s.capabilities(s.src, "validate-uuid", "x-ignore-shared")
    path = os.path.join(s.dir, "migfile")
    s.fast(s.src)
    # The guest runs, as in the original: nobody at the other end of a command answers, so that has to be allowed.
    s.go(f"exec:cat > {path}", **{"allow-weak-handover": True})
    s.wait_status(s.src, "completed")
    for what in "state", "desc":
        done = subprocess.run([sys.executable, ANALYZER, "-f", path, "-d", what], stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE, text=True, check=False, timeout=120)
        s.check(done.returncode == 0, f"analyze-migration.py -d {what}: {done.stderr[-2000:]}")
        s.check(json.loads(done.stdout), f"analyze-migration.py -d {what} says nothing")


main()
