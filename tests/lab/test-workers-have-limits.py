#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# LABELS: lab
# TIMEOUT: 900
"""tests/systemd/test-workers-have-cgroups.py where cgroup v2 has its controllers: limits are set, and kept over a restart; a worker
that needs more memory than it may have is killed, and the error says so."""

import os
import runpy
import subprocess
import sys

import inside

inside.enter(timeout=700)
if not os.path.exists("/sys/fs/cgroup/cgroup.controllers"):
    subprocess.run(["mount", "-t", "cgroup2", "none", "/sys/fs/cgroup"], check=True)
path = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../systemd/test-workers-have-cgroups.py")
sys.argv[0] = path
runpy.run_path(path, run_name="__main__")
