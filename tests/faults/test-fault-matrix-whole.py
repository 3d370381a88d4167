#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# LABELS: soak
# TIMEOUT: 21600
"""
The whole fault matrix: each fault at each point. MIGD_FAULT_MATRIX: a regular expression that chooses cells, POINT@WHO/FAULT.
The table is build/fault-matrix.txt, too.
"""

import os
import re

import migd_fault_table
import migd_faults
import migdtest
from migd_process import SOURCE_DIR


def test_every_fault_at_every_point(t):
    chosen = os.environ.get("MIGD_FAULT_MATRIX", "")
    cells = [(row, fault) for row in migd_faults.rows() for fault in migd_faults.FAULTS
             if re.search(chosen, f"{row[0]}@{row[2]}/{fault.name}")]
    path = os.path.join(SOURCE_DIR, "build", "fault-matrix.txt")
    migd_fault_table.play(cells, path if not chosen else None)


migdtest.main()
